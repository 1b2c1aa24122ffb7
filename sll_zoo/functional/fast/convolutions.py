"""Convolutions in float64 on a CPU as products of matrices: PyTorch's own take up to three times as long.

Images stand one behind the other in a line of pixels, with zeros between rows and between images, so that a tap of the kernel is
a step along the line: the matrix of each tap is multiplied by the pixels where they stand, and added to the sum. For a few pixels
the patches are copied, and the kernel stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sll_zoo.compat import graph_is_captured
from sll_zoo.functional.fast.products import derivatives_are_taken_in_reverse

# Bytes of pixels and their sums at a time: few enough to stay in the cache.
PART = 2**23
# Pixels of a batch from which the products are worth a copy of the kernel in another order.
LEAST_PIXELS = 256


def products_are_faster(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> bool:
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


def conv2d_by_products(
    x: Float[Tensor, "batch c h w"], kernel: Float[Tensor, "out c k k"], bias: Float[Tensor, " out"] | None
) -> Float[Tensor, "batch out h w"]:
    """Return the zero-padded cross-correlation of x and an odd kernel, as ``F.conv2d`` does up to rounding."""
    y: Tensor = _Convolution.apply(x, kernel, bias)
    return y


def conv2d_adjoint_by_products(
    y: Float[Tensor, "batch out h w"], kernel: Float[Tensor, "out c k k"]
) -> Float[Tensor, "batch c h w"]:
    """Return the adjoint of :func:`conv2d_by_products` without bias, as ``F.conv_transpose2d`` does up to rounding."""
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
        return conv2d_adjoint_by_products(grad, kernel), None, None


class _Adjoint(torch.autograd.Function):
    """Its adjoint, with a derivative by the images."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(kernel)
        return _pulled_back(y, kernel)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kernel,) = ctx.saved_tensors
        return conv2d_by_products(grad, kernel, None), None


def _convolved(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    if _has_few_pixels(x):
        edge = kernel.shape[-1]
        patches = F.unfold(x, edge, padding=edge // 2).transpose(0, 1).flatten(1)
        sums = kernel.flatten(1) @ patches
        return torch.unflatten(sums if bias is None else sums + bias[:, None], 1, (len(x), *x.shape[2:])).transpose(0, 1)
    return _along_lines(x, kernel, bias)


def _pulled_back(y: Tensor, kernel: Tensor) -> Tensor:
    if _has_few_pixels(y):
        edge = kernel.shape[-1]
        patches = y.permute(0, 2, 3, 1).flatten(0, 2) @ kernel.flatten(1)
        return F.fold(torch.unflatten(patches, 0, (len(y), -1)).mT, y.shape[2:], edge, padding=edge // 2)
    return _along_lines(y, kernel.transpose(0, 1).flip(2, 3), None)


def _has_few_pixels(x: Tensor) -> bool:
    return x.shape[0] * x.shape[2] * x.shape[3] < LEAST_PIXELS


def _along_lines(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    """Return the cross-correlation of images in lines: see the top of this file.

    Rows of the image, with their zeros, are ``width`` numbers long. Before and behind the line there are zeros for half a kernel.
    """
    out, channels, edge, _ = kernel.shape
    height, width = (size + edge // 2 for size in x.shape[2:])
    margin = edge // 2 * (width + 1)
    taps = kernel.permute(2, 3, 0, 1).reshape(-1, out, channels).unbind()
    steps = [down * width + right for down, right in product(range(edge), repeat=2)]

    def convolved(images: Tensor) -> Tensor:
        line = x.new_zeros(channels, 2 * margin + len(images) * height * width)
        inside = torch.unflatten(line[:, margin : line.shape[1] - margin], 1, (len(images), height, width))
        inside[..., : x.shape[2], : x.shape[3]] = images.transpose(0, 1)
        sums = _sum_of_products(taps, [line[:, step : step + line.shape[1] - 2 * margin] for step in steps], bias)
        return torch.unflatten(sums, 1, (len(images), height, width))[..., : x.shape[2], : x.shape[3]]

    most = max(1, PART // (8 * (channels + out) * height * width))
    parts = [convolved(images) for images in torch.tensor_split(x, -(-len(x) // most))]
    return (parts[0] if len(parts) == 1 else torch.cat(parts, 1)).transpose(0, 1)


def _sum_of_products(matrices: Sequence[Tensor], others: Sequence[Tensor], bias: Tensor | None = None) -> Tensor:
    (matrix, other), *rest = zip(matrices, others, strict=True)
    result = matrix @ other if bias is None else torch.addmm(bias[:, None], matrix, other)
    for matrix, other in rest:
        result.addmm_(matrix, other)
    return result


def abs_gram_by_products(kernel: Float[Tensor, "out c k k"]) -> Float[Tensor, "out out"]:
    """Return ``Σ_δ |(K ⋆ K)ᵢⱼ[δ]|``, by a product for each pair of offsets δ and −δ, at which the matrices are transposes."""
    out, _, edge, _ = kernel.shape
    taps, sums = kernel.permute(2, 3, 0, 1).contiguous(), kernel.new_zeros(out, out)
    for down, right in product(range(edge), range(1 - edge, edge)):
        if down or right >= 0:
            columns = range(max(0, -right), edge - max(0, right))
            pairs = [(taps[row + down, column + right], taps[row, column].mT) for row in range(edge - down) for column in columns]
            later, earlier = zip(*pairs, strict=True)
            gram = _sum_of_products(later, earlier).abs_()
            sums += gram + gram.mT if down or right else gram
    return sums
