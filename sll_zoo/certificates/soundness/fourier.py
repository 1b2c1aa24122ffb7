"""Orthogonal and sandwich layers with their matrices stored, for one size of images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sll_zoo.functional.orthogonal import COMPLEX, apply_matrices, cayley, kernel_to_frequencies, normalised, sandwich
from sll_zoo.layers import OrthogonalConv2d, SandwichConv2d, SandwichLinear


class StoredMatrices(nn.Module):
    """A dense matrix, or one for each frequency of images of a size: what is applied is one or the other.

    Args:
        matrices: (rows, cols) in float64, or (h, w // 2 + 1, rows, cols) in complex128.
        dtype: Of the images.
    """

    matrices: Tensor

    def __init__(self, matrices: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        stored = COMPLEX[dtype] if matrices.is_complex() else dtype
        self.register_buffer("matrices", matrices.detach().to(stored, copy=True))


class StoredOrthogonal(StoredMatrices):
    """x ↦ Q x + b for a circular convolution with orthogonal Q."""

    bias: Tensor | None

    def __init__(self, layer: OrthogonalConv2d, size: tuple[int, int], dtype: torch.dtype) -> None:
        super().__init__(cayley(kernel_to_frequencies(normalised(layer.weight, layer.log_norm), size)), dtype)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        y = apply_matrices(self.matrices, x)
        return y if self.bias is None else y + self.bias.view(-1, 1, 1)


class StoredSandwich(StoredMatrices):
    """x ↦ √2 Aᵀ Ψ relu(√2 Ψ⁻¹ B x + b), of which [Aᴴ; Bᴴ] are the matrices."""

    psi: Tensor
    bias: Tensor

    def __init__(self, layer: SandwichLinear | SandwichConv2d, size: tuple[int, int] | None, dtype: torch.dtype) -> None:
        super().__init__(torch.cat(layer.factors(torch.float64, size), -2), dtype)
        self.register_buffer("psi", layer.psi().detach().to(dtype))
        self.register_buffer("bias", torch.zeros_like(self.psi) if layer.bias is None else layer.bias.detach().to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        out = len(self.psi)
        return sandwich(x, self.matrices[..., :out, :], self.matrices[..., out:, :], self.psi, self.bias)


def stored(layer: nn.Module, x: Tensor, dtype: torch.dtype) -> StoredMatrices | None:
    """Return an orthogonal or sandwich layer in float64 with its matrices stored, for inputs like ``x``; None for others."""
    size = (x.shape[2], x.shape[3]) if x.ndim == 4 else None
    if type(layer) is OrthogonalConv2d and size:
        return StoredOrthogonal(layer, size, dtype)
    if type(layer) is SandwichLinear or type(layer) is SandwichConv2d:
        return StoredSandwich(layer, size, dtype)
    return None
