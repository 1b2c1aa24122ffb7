"""Sandwich layers: a complete parametrisation of the same condition, x ↦ √2 Aᵀ Ψ σ(√2 Ψ⁻¹ B x + b) with A Aᵀ + B Bᵀ = I.

Reference: Wang and Manchester, "Direct Parameterization of Lipschitz-Bounded Deep Networks", ICML 2023 (arXiv 2301.11526).
"""

from __future__ import annotations

import math
from typing import Unpack

import torch
from jaxtyping import Float, Inexact
from torch import Tensor, nn

from sll_zoo.functional.fast.products import full_precision
from sll_zoo.functional.orthogonal import cayley, normalised, operators, sandwich
from sll_zoo.functional.rescaling import LOG_Q_LIMIT
from sll_zoo.layers.circular import CircularConv2d, StoredMatrices
from sll_zoo.layers.derived import DerivingModule
from sll_zoo.layers.parameters import Placement, orthogonal_, require_odd, weight_and_bias
from sll_zoo.layers.seal import sealed


@torch.no_grad()
def _balanced_(weight: Tensor) -> None:
    """Fill a weight (out + in, out, ...) so that its Cayley transform holds A = I/√2, and B = an orthogonal matrix over √2."""
    out = weight.shape[1]
    weight[:out] = 0
    orthogonal_(weight[out:])
    weight.mul_(math.tan(math.pi / 8))  # t = tan(π/8): (1 − t²)/(1 + t²) = 2t/(1 + t²) = 1/√2


class _Sandwich(DerivingModule):
    """The parameters of a sandwich layer: W (out + in, out), whose Cayley transform holds A and B; ψ and the bias, (out,).

    They start where A Aᵀ = B Bᵀ = I/2 (if in ≥ out), so that f(x) = relu(Q x + b) with Q orthogonal, and at b = 1, to keep more
    of a signal (``benchmarks/signal_propagation.md``).
    """

    def __init__(self, out: int, in_: int, kernel: tuple[int, ...], bias: bool, placement: Placement) -> None:
        super().__init__()
        self.weight, _ = weight_and_bias((out + in_, out, *kernel), False, _balanced_, **placement)
        self.log_norm = nn.Parameter(self.weight.detach().norm().log())
        self.log_psi = nn.Parameter(torch.zeros(out, **placement))
        self.bias = nn.Parameter(torch.ones(out, **placement)) if bias else None

    def factors(self, space: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Inexact[Tensor, "*frequencies rows out"]:
        """Return Aᴴ on Bᴴ, computed in float64: a matrix for each frequency of images of ``space``, or one for all of them."""
        with full_precision(self.weight.device.type):
            return cayley(operators(normalised(self.weight, self.log_norm), space), dtype)

    def forward(self, x: Float[Tensor, "batch in_ *space"]) -> Float[Tensor, "batch out *space"]:
        """Apply the layer."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        return _apply_sandwich(x, self.derived(self.factors, tuple(x.shape[2:]), dtype), self.psi(), self.bias)

    def psi(self) -> Float[Tensor, " out"]:
        """Return the diagonal of Ψ, in float32 at least."""
        log_psi = self.log_psi.to(torch.promote_types(self.log_psi.dtype, torch.float32))
        return log_psi.clamp(-LOG_Q_LIMIT, LOG_Q_LIMIT).exp()


class SandwichLinear(_Sandwich):
    """1-Lipschitz layer f(x) = √2 Aᵀ Ψ relu(√2 Ψ⁻¹ B x + b), (batch, in_features) → (batch, out_features).

    Args:
        in_features: Size of the input.
        out_features: Size of the output and of the hidden vector.
        bias: Whether there is a bias.
        **placement: ``device`` and ``dtype`` of the parameters.

    Guarantee: in exact arithmetic, for any weights; in float64 to 1e-9, in float32 to 1e-5 (``tests/test_laws.py``).

    Raises:
        ConfigError: A size below 1.

    Example:
        >>> import torch
        >>> SandwichLinear(4, 3)(torch.zeros(2, 4)).shape
        torch.Size([2, 3])

    Source: the paper above.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, **placement: Unpack[Placement]) -> None:
        super().__init__(out_features, in_features, (), bias, placement)

    def fold(self) -> FoldedSandwich:
        """Return the same map with A and B computed once and stored, for evaluation and deployment."""
        return sealed(FoldedSandwich(self.factors(()), self.psi(), self.bias, ()))


class SandwichConv2d(_Sandwich, CircularConv2d):
    """1-Lipschitz circular convolution, :class:`SandwichLinear` at each frequency: (batch, in, h, w) → (batch, out, h, w).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output and of the hidden image.
        kernel_size: Odd; size of the kernel of free parameters.
        bias: Whether there is a bias.
        **placement: ``device`` and ``dtype`` of the parameters.

    Guarantee: as for :class:`SandwichLinear`, for every image size.

    Raises:
        ConfigError: An even kernel, or a size below 1.

    Example:
        >>> import torch
        >>> SandwichConv2d(4, 3)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 3, 8, 8])

    Source: the paper above, its convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        bias: bool = True,
        **placement: Unpack[Placement],
    ) -> None:
        require_odd(kernel_size)
        super().__init__(out_channels, in_channels, (kernel_size, kernel_size), bias, placement)
        self.out_channels = out_channels

    def fold_at(self, size: tuple[int, int]) -> FoldedSandwich:
        """Return the same map of images of ``size`` with A and B computed once and stored, for evaluation and deployment."""
        return sealed(FoldedSandwich(self.factors(size), self.psi(), self.bias, size))


class FoldedSandwich(StoredMatrices):
    """A sandwich layer with A and B stored: for vectors, for pixels, or for images of one size.

    Guarantee: that of the layer whose ``fold`` made and sealed it; one that was changed since, or made by hand, has none.

    Args:
        factors: Aᴴ stacked on Bᴴ: (out + in, out), or (h, w // 2 + 1, out + in, out), complex.
        psi: The diagonal of Ψ, (out,).
        bias: (out,) or None.
        size: (h, w) of the images, or () for vectors.

    Raises:
        InputError: In ``forward``, images of another size.
    """

    psi: Tensor
    bias: Tensor | None

    def __init__(self, factors: Tensor, psi: Tensor, bias: Tensor | None, size: tuple[int, ...]) -> None:
        super().__init__(factors, size)
        self.register_buffer("psi", psi.detach().clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    def forward(self, x: Float[Tensor, "batch in_ *space"]) -> Float[Tensor, "batch out *space"]:
        """Apply the layer."""
        self.require_size(x)
        return _apply_sandwich(x, self.matrices(), self.psi, self.bias)


def _apply_sandwich(x: Tensor, factors: Tensor, psi: Tensor, bias: Tensor | None) -> Tensor:
    """Apply the formula of a sandwich layer to vectors or images, computed in float32 at least."""
    dtype = torch.promote_types(x.dtype, torch.float32)
    with full_precision(x.device.type):
        return sandwich(x.to(dtype), factors, psi.to(dtype), None if bias is None else bias.to(dtype)).to(x.dtype)
