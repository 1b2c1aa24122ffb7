"""Layers in the operations that every runtime has: products, convolutions, sums and maxima of real numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sll_zoo.functional.activation import slope_restricted
from sll_zoo.functional.convolution import PaddingMode, same_conv2d
from sll_zoo.layers import FoldedResidual


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
        self.register_buffer("places", _places(kernel.shape[-1], size, padding_mode))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return _product_convolution(x, self.matrix, self.bias, self.places)


def _product_convolution(x: Tensor, matrix: Tensor, bias: Tensor | None, places: Tensor) -> Tensor:
    """Return the product of ``matrix``, (out, in k²), and the pixels at ``places``, of each pixel of x (batch, in, h, w)."""
    out, terms = matrix.shape
    patches = x.flatten(2)
    if terms > x.shape[1]:
        pixels = F.pad(patches, (0, 1))  # the added pixel, 0, stands for every place outside the image
        patches = pixels.index_select(2, places).reshape(x.shape[0], terms, x.shape[2] * x.shape[3])
    y = (matrix @ patches).reshape(x.shape[0], out, *x.shape[2:])
    return y if bias is None else y + bias[:, None, None]


def _places(k: int, size: tuple[int, int], padding_mode: PaddingMode) -> Tensor:
    """Return which pixel lies under each place of a kernel, (k² h w,), by its number; h w for those outside."""
    height, width = size
    rows, columns = (torch.arange(k)[:, None] + torch.arange(n) - k // 2 for n in size)
    rows, columns = rows[:, None, :, None], columns[None, :, None, :]
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    number = rows % height * width + columns % width
    return (number if padding_mode == "circular" else torch.where(inside, number, height * width)).flatten()


class ConvolutionalResidual(FoldedResidual):
    """x ↦ x − Vᵀ (step ⊙ σ(V x + b)), with one V for both convolutions.

    Args:
        layer: The folded layer.
        size: (h, w) of the images if convolutions are to be written as matrix products, else None.
    """

    places: Tensor | None

    def __init__(self, layer: FoldedResidual, size: tuple[int, int] | None) -> None:
        super().__init__(layer.weight, layer.bias, layer.step[:, None, None], layer.activation, layer.padding_mode)
        self.register_buffer("places", None if size is None else _places(layer.weight.shape[-1], size, layer.padding_mode))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        units = slope_restricted(self.activation)(self._convolve(self.weight, self.bias, x))
        # The kernel of Vᵀ is V's, rotated by 180 degrees.
        return x - self._convolve(self.weight.transpose(0, 1).flip(2, 3), None, units * self.step)

    def _convolve(self, kernel: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
        if self.places is None:
            return same_conv2d(x, kernel, bias, self.padding_mode)
        return _product_convolution(x, kernel.flatten(1), bias, self.places)


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
        # Frequencies count twice, for their conjugates, except the first one and the last one of an even width.
        twice = torch.tensor([1 if f in (0, size[1] / 2) else 2 for f in range(half.shape[1])], device=half.device)
        self.register_buffer("columns", torch.stack([half.real, half.imag]))
        self.register_buffer("rows", torch.cat([torch.cat(pair, 1) for pair in _real_product(along_h)]))
        self.register_buffer("back", torch.stack([half.real.mT, half.imag.mT]) * twice[:, None] / (size[0] * size[1]))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        height, half, out = self.rows.shape[0] // 2, self.columns.shape[2], self.real.shape[1]
        # (batch, c, real and imaginary rows, half a row of frequencies)
        z = self.rows @ torch.cat([x @ self.columns[0], x @ self.columns[1]], 2)
        real, imaginary = (part.flatten(2).permute(2, 1, 0) for part in (z[:, :, :height], z[:, :, height:]))
        products = (self.real @ real - self.imaginary @ imaginary, self.real @ imaginary + self.imaginary @ real)
        # The inverse of the rows' transform is its adjoint divided by h; this factor is in ``back``.
        z = self.rows.mT @ torch.cat([part.permute(2, 1, 0).reshape(x.shape[0], out, height, half) for part in products], 2)
        y = z[:, :, :height] @ self.back[0] + z[:, :, height:] @ self.back[1]
        return y if self.bias is None else y + self.bias[:, None, None]


def _real_product(matrix: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return the blocks of the real matrix that acts on stacked real and imaginary parts as a complex matrix acts."""
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
