"""Circular convolutions with one matrix for each frequency of the images, and the folded form that stores these matrices."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Inexact
from torch import Tensor, nn

from sll_zoo.errors import InputError
from sll_zoo.functional.fast.products import full_precision
from sll_zoo.functional.orthogonal import apply_matrices
from sll_zoo.layers.derived import DerivingModule
from sll_zoo.layers.linear_form import FoldedLinearForm
from sll_zoo.layers.seal import Sealed, sealed


class CircularConv2d(DerivingModule):
    """A circular convolution with one matrix for each frequency; its folded form takes images of one size only.

    Attributes:
        weight: Free parameters with a kernel (..., k, k).
        out_channels: Channels of the output.
    """

    weight: nn.Parameter
    out_channels: int

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix of a frequency: those of the weight, unless a family says otherwise."""
        return self.weight.shape[0], self.weight.shape[1]

    @property
    def is_pixelwise(self) -> bool:
        """Whether the kernel has one pixel, so that one real matrix serves all frequencies and all image sizes."""
        return self.weight.shape[2:] == (1, 1)

    def fold_at(self, size: tuple[int, int]) -> nn.Module:
        """Return the same map of images of ``size`` with its matrices computed once and stored."""
        raise NotImplementedError

    def bytes_at(self, size: tuple[int, int]) -> int:
        """Return how many bytes the matrices for images of ``size`` take in float64, for a kernel of more than one pixel."""
        return 16 * size[0] * (size[1] // 2 + 1) * math.prod(self.matrix_shape)


class CircularLinearForm(CircularConv2d):
    """The circular linear form x ↦ Q x + b, (batch, in, h, w) → (batch, out, h, w), where the family computes Q from its weight.

    Q depends on the image's size, and is computed at every forward for the size of the input: one matrix for each frequency, or a
    single one if the kernel has one pixel. The folded form takes images of one size only.
    """

    bias: nn.Parameter | None

    def matrices(self, size: tuple[int, int], dtype: torch.dtype = torch.float64) -> Inexact[Tensor, "*frequencies out in_"]:
        """Return Q, computed in float64: one matrix for each frequency of images of ``size``, or one real one for all pixels."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "batch in_ h w"]) -> Float[Tensor, "batch out h w"]:
        """Apply the layer."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        return apply_circular(x, self.derived(self.matrices, (x.shape[2], x.shape[3]), dtype), self.bias)

    def fold_at(self, size: tuple[int, int]) -> FoldedCircular | FoldedLinearForm:
        """Return the same map of images of ``size`` with Q computed once and stored, for evaluation and deployment."""
        q = self.matrices(size)
        if q.is_complex():
            return sealed(FoldedCircular(q, self.bias, size))
        return sealed(FoldedLinearForm(q[:, :, None, None].contiguous(), self.bias, "zeros"))


class StoredMatrices(Sealed):
    """A layer that applies stored matrices: a real one to all vectors or pixels, or a complex one to each frequency of images.

    Complex matrices take 16 h (w // 2 + 1) rows cols bytes in float64: 143 MB for 128 channels on images of 32 × 32.

    Args:
        matrices: (rows, cols), or (h, w // 2 + 1, rows, cols) as ``torch.fft.rfft2`` orders frequencies.
        size: (h, w) of the images; used with complex matrices only.

    Attributes:
        stored: (rows, cols) if real; else (frequencies, rows, 2 cols), with real and imaginary parts as separate numbers, since a
            conversion such as ``double()`` leaves complex tensors as they are, and ``to(dtype)`` drops imaginary parts.
        size: (h, w) of the images that the layer takes; None where one matrix serves all sizes.
    """

    stored: Tensor

    def __init__(self, matrices: Tensor, size: tuple[int, ...]) -> None:
        super().__init__()
        matrices = matrices.detach()
        if matrices.is_complex():
            matrices = torch.view_as_real(matrices.resolve_conj()).flatten(3).flatten(0, 1)
        self.register_buffer("stored", matrices.clone(memory_format=torch.contiguous_format))
        self.size = (size[0], size[1]) if matrices.ndim == 3 else None

    def matrices(self) -> Tensor:
        """Return the matrices in the shape in which they were given, in float32 at least."""
        stored = self.stored.to(torch.promote_types(self.stored.dtype, torch.float32))
        if self.size is None:
            return stored
        height, width = self.size
        return torch.view_as_complex(stored.view(height, width // 2 + 1, stored.shape[1], -1, 2))

    def require_size(self, x: Tensor) -> None:
        """Refuse images of another size.

        Raises:
            InputError: Images of another size than the matrices are for.
        """
        if self.size is not None and tuple(x.shape[2:]) != self.size:
            raise InputError(
                f"inputs of shape {tuple(x.shape)} for a layer folded for images of {self.size}",
                "fold the original for that size: fold(module, size=(height, width))",
            )

    def extra_repr(self) -> str:
        """Return the sizes, for ``print(model)``."""
        rows, cols = self.stored.shape[-2:]
        return f"{rows} × {cols}" if self.size is None else f"{rows} × {cols // 2}, size={self.size}"


class FoldedCircular(StoredMatrices):
    """A circular convolution x ↦ Q x + b, where Q is stored as one matrix for each frequency of images of one size.

    Guarantee: that of the layer whose ``fold_at`` made and sealed it; one that was changed since, or made by hand, has none.

    Args:
        matrices: Q at each frequency, (h, w // 2 + 1, out, in), complex.
        bias: (out,) or None.
        size: (h, w) of the images.

    Raises:
        InputError: In ``forward``, images of another size.
    """

    bias: Tensor | None

    def __init__(self, matrices: Tensor, bias: Tensor | None, size: tuple[int, ...]) -> None:
        super().__init__(matrices, size)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: Float[Tensor, "batch in_ h w"]) -> Float[Tensor, "batch out h w"]:
        """Apply the layer."""
        self.require_size(x)
        return apply_circular(x, self.matrices(), self.bias)


def apply_circular(x: Tensor, matrices: Tensor, bias: Tensor | None) -> Tensor:
    """Return Q x + b for images, in float32 at least: see :func:`~sll_zoo.functional.orthogonal.apply_matrices`."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    with full_precision(x.device.type):
        return apply_matrices(matrices, x.to(dtype), None if bias is None else bias.to(dtype)).to(x.dtype)
