"""A folded network in the operations that every runtime has: products, convolutions, sums and maxima of real numbers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sll_zoo.chain import trace
from sll_zoo.functional.activation import slope_restricted
from sll_zoo.functional.convolution import PaddingMode
from sll_zoo.layers import FoldedLinearForm, FoldedResidual, NormOneAvgPool2d, UnitRowsLinear
from sll_zoo.models import LipschitzClassifier
from sll_zoo.soundness.fourier import StoredMatrices, StoredOrthogonal, StoredSandwich, stored


def in_plain_operations(folded: LipschitzClassifier, by_products: bool) -> LipschitzClassifier:
    """Return a copy of a network of :func:`~sll_zoo.fold`, in float64, with every layer that has a plain form replaced by it.

    Args:
        folded: The network.
        by_products: Whether a convolution is written as a matrix product, for runtimes that have none in float64.
    """
    network = copy.deepcopy(folded)
    calls, _ = trace(network, torch.zeros(1, *network.config.input_shape, dtype=torch.float64))
    for call in calls:
        weight = getattr(call.layer, "weight", None)
        # To a kernel of one pixel, every pixel is an image of its own.
        pixelwise = weight is not None and weight.shape[2:] == (1, 1)
        matrices = stored(call.layer, call.x[..., :1, :1] if pixelwise else call.x, torch.float64)
        if plain := _plain(matrices or call.layer, call.x, by_products):
            network.set_submodule(call.name, plain)
    for buffer in network.buffers():
        buffer.data = buffer.contiguous()  # as files hold them
    return network


def _plain(layer: nn.Module, x: Tensor, by_products: bool) -> nn.Module | None:
    """Return the plain form of a layer, for inputs like ``x``; None for one that has no other than its own."""
    size = (x.shape[-2], x.shape[-1])
    convolution = partial(ProductConvolution, size=size) if by_products else FoldedLinearForm
    match layer:
        case UnitRowsLinear():
            return FoldedLinearForm(layer.unit_rows(), layer.bias, "zeros")
        case FoldedResidual() if layer.weight.ndim == 2:
            return DenseResidual(layer)
        case FoldedResidual():
            # Vᵀ diag(2/T) is a convolution, too, with the kernel turned by half a turn.
            adjoint = (layer.weight * layer.step[:, None, None, None]).transpose(0, 1).flip(2, 3)
            taking = (convolution(layer.weight, layer.bias, layer.padding_mode), convolution(adjoint, None, layer.padding_mode))
            return ConvolutionalResidual(*taking, layer.activation)
        case FoldedLinearForm() if layer.weight.ndim == 4:
            return convolution(layer.weight, layer.bias, layer.padding_mode)
        case StoredMatrices():
            return _of_matrices(layer, size, convolution)
        case NormOneAvgPool2d():
            return SumPool(cast("int", layer.kernel_size))
        case nn.AdaptiveMaxPool2d(output_size=1):
            return LargestPixel()
    return None


def _of_matrices(layer: StoredMatrices, size: tuple[int, int], convolution: Callable[..., nn.Module]) -> nn.Module:
    """Return an orthogonal or sandwich layer, of vectors or of images of ``size``."""
    matrices = layer.matrices

    def product(matrices: Tensor, bias: Tensor | None) -> nn.Module:
        if not matrices.is_complex():
            return FoldedLinearForm(matrices, bias, "zeros")
        if matrices.shape[:2] == (1, 1):
            return convolution(matrices.real.permute(2, 3, 0, 1), bias, "zeros")
        return FrequencyProduct(matrices, bias, size)

    if isinstance(layer, StoredSandwich):
        out = len(layer.psi)
        a, b = matrices[..., :out, :], matrices[..., out:, :].mH
        hidden = product(math.sqrt(2) * b / layer.psi[:, None], layer.bias)
        return nn.Sequential(hidden, nn.ReLU(), product(math.sqrt(2) * a * layer.psi, None))
    return product(matrices, layer.bias if isinstance(layer, StoredOrthogonal) else None)


class ProductConvolution(nn.Module):
    """x ↦ K ⋆ x + b, of the same height and width, as one matrix product.

    Args:
        kernel: K, (out, in, k, k) with k odd.
        bias: (out,) or None.
        padding_mode: ``zeros`` or ``circular``.
        size: (h, w) of the images.
    """

    matrix: Tensor
    bias: Tensor | None
    places: Tensor

    def __init__(self, kernel: Tensor, bias: Tensor | None, padding_mode: PaddingMode, size: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("matrix", kernel.flatten(1))
        self.register_buffer("bias", None if bias is None else bias.clone())
        self.register_buffer("places", _neighbours(kernel.shape[-1], size, padding_mode).flatten())
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        pixels = F.pad(x.flatten(2), (0, 1))  # the last stands for all outside
        patches = pixels.index_select(2, self.places).reshape(x.shape[0], self.matrix.shape[1], -1)
        y = (self.matrix @ patches).reshape(x.shape[0], -1, *self.size)
        return y if self.bias is None else y + self.bias[:, None, None]


def _neighbours(k: int, size: tuple[int, int], padding_mode: PaddingMode) -> Tensor:
    """Return which pixel lies under each place of a kernel, (k², h w), by its number; h w for those outside."""
    height, width = size
    rows, columns = (torch.arange(k)[:, None] + torch.arange(n) - k // 2 for n in size)
    rows, columns = rows[:, None, :, None], columns[None, :, None, :]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    number = rows % height * width + columns % width
    return (number if padding_mode == "circular" else torch.where(inside, number, height * width)).flatten(2).flatten(0, 1)


class ConvolutionalResidual(nn.Module):
    """x ↦ x − B σ(A x).

    Args:
        inner: A, a convolution.
        outer: B, another.
        activation: σ.
    """

    def __init__(self, inner: nn.Module, outer: nn.Module, activation: str) -> None:
        super().__init__()
        self.inner, self.outer = inner, outer
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        taken: Tensor = self.outer(slope_restricted(self.activation)(self.inner(x)))
        return x - taken


class DenseResidual(FoldedResidual):
    """x ↦ x − Vᵀ (step ⊙ σ(V x + b)), with one V for both products.

    Args:
        layer: The folded layer.
    """

    def __init__(self, layer: FoldedResidual) -> None:
        super().__init__(layer.weight, layer.bias, layer.step, layer.activation, layer.padding_mode)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        units = slope_restricted(self.activation)(F.linear(x, self.weight, self.bias))
        return x - (units * self.step) @ self.weight


class FrequencyProduct(nn.Module):
    """A circular convolution by its matrices, one for each frequency, with Fourier transforms as products of real matrices.

    Args:
        matrices: (h, w // 2 + 1, out, in), complex, as ``torch.fft.rfft2`` orders frequencies.
        bias: (out,) or None.
        size: (h, w) of the images.
    """

    real: Tensor
    imaginary: Tensor
    bias: Tensor | None
    columns: Tensor
    rows: Tensor
    back: Tensor

    def __init__(self, matrices: Tensor, bias: Tensor | None, size: tuple[int, int]) -> None:
        super().__init__()
        self.register_buffer("real", matrices.real.flatten(0, 1).clone())
        self.register_buffer("imaginary", matrices.imag.flatten(0, 1).clone())
        self.register_buffer("bias", None if bias is None else bias.clone())
        along_h, along_w = (torch.fft.fft(torch.eye(n, dtype=matrices.dtype, device=matrices.device)) for n in size)
        half = along_w[:, : size[1] // 2 + 1]
        # Frequencies other than the first, and the last of an even width, stand for their conjugates as well.
        twice = torch.tensor([1 if f in (0, size[1] / 2) else 2 for f in range(half.shape[1])], device=half.device)
        self.register_buffer("columns", torch.stack([half.real, half.imag]))
        self.register_buffer("rows", torch.cat([torch.cat(pair, 1) for pair in _real_product(along_h)]))
        self.register_buffer("back", torch.stack([half.real.mT, half.imag.mT]) * twice[:, None] / (size[0] * size[1]))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        height, half = self.rows.shape[0] // 2, self.columns.shape[2]
        # (batch, c, real and imaginary rows, half a row of frequencies)
        z = self.rows @ torch.cat([x @ self.columns[0], x @ self.columns[1]], 2)
        real, imaginary = (part.flatten(2).permute(2, 1, 0) for part in (z[:, :, :height], z[:, :, height:]))
        products = (self.real @ real - self.imaginary @ imaginary, self.real @ imaginary + self.imaginary @ real)
        # The inverse of the rows' transform is its adjoint over h, and that factor is in ``back``.
        z = self.rows.mT @ torch.cat([part.permute(2, 1, 0).reshape(x.shape[0], -1, height, half) for part in products], 2)
        y = z[:, :, :height] @ self.back[0] + z[:, :, height:] @ self.back[1]
        return y if self.bias is None else y + self.bias[:, None, None]


def _real_product(matrix: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the blocks of the real matrix that does to real over imaginary parts what a complex one does."""
    return (matrix.real, -matrix.imag), (matrix.imag, matrix.real)


class SumPool(nn.Module):
    """The sum of each k × k window over k: ``NormOneAvgPool2d``.

    Args:
        edge: k.
    """

    def __init__(self, edge: int) -> None:
        super().__init__()
        self.edge = edge

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        edge, (height, width) = self.edge, x.shape[2:]
        return x.reshape(*x.shape[:2], height // edge, edge, width // edge, edge).sum((3, 5)) / edge


class LargestPixel(nn.Module):
    """The maximum of each channel, ``AdaptiveMaxPool2d(1)``."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return x.amax((2, 3), keepdim=True)
