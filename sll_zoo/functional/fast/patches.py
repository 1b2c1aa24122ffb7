"""Convolutions in float64 on a CPU as products of matrices: PyTorch's own take three times as long.

A convolution to fewer channels is one product with all taps of the kernel, whose results are moved to their pixels and summed.
Its adjoint gathers the patches of those pixels, and is one product with all taps, too.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sll_zoo.compat import graph_is_captured
from sll_zoo.functional.fast.products import derivatives_are_taken_in_reverse

# Bytes of patches at a time: few enough to stay in the cache of a core.
PART = 2**21


def patches_are_faster(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> bool:
    """Return whether to use the functions below: in float64 on a CPU, to no more channels, for weights without derivatives."""
    learned = torch.is_grad_enabled() and (kernel.requires_grad or (bias is not None and bias.requires_grad))
    return (
        x.dtype == kernel.dtype == torch.float64
        and x.device.type == "cpu"
        and x.numel() > 0
        and x.ndim == 4
        and kernel.shape[0] <= kernel.shape[1]
        and not learned
        and not graph_is_captured()
        and derivatives_are_taken_in_reverse(x, kernel)
    )


def conv2d_by_patches(
    x: Float[Tensor, "batch c h w"], kernel: Float[Tensor, "out c k k"], bias: Float[Tensor, " out"] | None
) -> Float[Tensor, "batch out h w"]:
    """Return the zero-padded cross-correlation of x and an odd kernel, as ``F.conv2d`` does up to rounding."""
    y: Tensor = _Convolution.apply(x, kernel, bias)
    return y


def conv2d_adjoint_by_patches(
    y: Float[Tensor, "batch out h w"], kernel: Float[Tensor, "out c k k"]
) -> Float[Tensor, "batch c h w"]:
    """Return the adjoint of :func:`conv2d_by_patches` without bias, as ``F.conv_transpose2d`` does up to rounding."""
    x: Tensor = _Adjoint.apply(y, kernel)
    return x


class _Convolution(torch.autograd.Function):
    """The convolution, with a derivative by the images."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(kernel)
        return _convolved(x, kernel, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (kernel,) = ctx.saved_tensors
        return conv2d_adjoint_by_patches(grad, kernel), None, None


class _Adjoint(torch.autograd.Function):
    """Its adjoint, with a derivative by the images."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(kernel)
        return _pulled_back(y, kernel)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kernel,) = ctx.saved_tensors
        return conv2d_by_patches(grad, kernel, None), None


def _convolved(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    out, channels, edge, _ = kernel.shape
    taps = kernel.permute(1, 2, 3, 0).reshape(channels, -1).contiguous()

    def convolve(images: Tensor) -> Tensor:
        products = (images.reshape(-1, channels) @ taps).view(*images.shape[:3], edge, edge, out)
        middle = products[:, :, :, edge // 2, edge // 2]
        sums = middle.clone() if bias is None else middle + bias
        for down, right in product(range(edge), repeat=2):
            rows, from_rows = _overlap(images.shape[1], down - edge // 2)
            columns, from_columns = _overlap(images.shape[2], right - edge // 2)
            if (down, right) != (edge // 2, edge // 2):
                sums[:, rows, columns] += products[:, from_rows, from_columns, down, right]
        return sums

    return _in_parts(convolve, x, edge**2 * out)


def _pulled_back(y: Tensor, kernel: Tensor) -> Tensor:
    out, channels, edge, _ = kernel.shape
    turned = kernel.flip(2, 3).permute(2, 3, 0, 1).reshape(-1, channels).contiguous()

    def convolve(units: Tensor) -> Tensor:
        batch, height, width, _ = units.shape
        padded = F.pad(units, (0, 0, *(edge // 2,) * 4))
        image, row, column, _ = padded.stride()
        # The pixels of a patch that stand in one row are neighbours in memory.
        patches = padded.as_strided((batch, height, width, edge, edge * out), (image, row, column, row, 1))
        return (patches.reshape(-1, edge**2 * out) @ turned).view(batch, height, width, channels)

    return _in_parts(convolve, y, edge**2 * out)


def abs_gram_by_patches(kernel: Float[Tensor, "out c k k"]) -> Float[Tensor, "out out"]:
    """Return ``Σ_δ |(K ⋆ K)ᵢⱼ[δ]|``, by a product for each pair of offsets δ and −δ, at which the matrices are transposes."""
    out, _, edge, _ = kernel.shape
    sums = kernel.new_zeros(out, out)
    for down, right in product(range(edge), range(1 - edge, edge)):
        if down or right >= 0:
            one = kernel[:, :, down:, max(0, right) : edge + min(0, right)].flatten(1)
            other = kernel[:, :, : edge - down, max(0, -right) : edge - max(0, right)].flatten(1)
            gram = (one @ other.mT).abs_()
            sums += gram + gram.mT if down or right else gram
    return sums


def _in_parts(convolve: Callable[[Tensor], Tensor], x: Tensor, numbers: int) -> Tensor:
    """Return what ``convolve`` makes of (batch, h, w, channels), with ``numbers`` numbers of patches for each pixel."""
    images = x.permute(0, 2, 3, 1)
    count = max(1, PART // (8 * numbers * x.shape[2] * x.shape[3]))
    return torch.cat([convolve(part.contiguous()) for part in torch.split(images, count)]).permute(0, 3, 1, 2)


def _overlap(size: int, shift: int) -> tuple[slice, slice]:
    """Return which pixels of a line have one that is ``shift`` further, and those."""
    return slice(max(0, -shift), max(0, size - max(0, shift))), slice(min(size, max(0, shift)), max(0, size + min(0, shift)))
