"""Convex potential layers (CPL): the residual form with T = ‖W‖² I, where ‖W‖ is bounded from above.

Reference: Meunier, Delattre, Araujo and Allauzen, ICML 2022 (arXiv 2110.12690), which estimates ‖W‖ from below.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from sll_zoo.functional.rescaling import residual_step
from sll_zoo.functional.spectral import squared_spectral_norm_upper_bound
from sll_zoo.layers.residual import ResidualConv2d, ResidualLinear


def _t(weight: Tensor, scale: Tensor) -> Tensor:
    """Return an upper bound of ‖W‖² for W = ``weight / scale``, repeated for every unit."""
    return squared_spectral_norm_upper_bound(weight.to(scale.dtype) / scale).expand(len(weight))


class CPLLinear(ResidualLinear):
    """1-Lipschitz layer h(x) = x − 2/t Vᵀ σ(V x + b), with t an upper bound of ‖V‖²: (batch, features) → the same shape.

    Args:
        features: Size of the input and of the output.
        inner_features: Number of hidden units, rows of V.
        bias: Whether σ's argument has a bias.
        activation: Name of σ, with slopes in [0, 1].
        **placement: ``device`` and ``dtype`` of the parameters.

    Guarantee: in exact arithmetic, for any weights; in float64 to 1e-9, in float32 to 1e-5 (``tests/test_laws.py``).

    Raises:
        ConfigError: A size below 1, or an unknown activation.

    Example:
        >>> import torch
        >>> CPLLinear(6, 4)(torch.zeros(2, 6)).shape
        torch.Size([2, 6])

    Source: the paper above; the bound is :func:`~sll_zoo.functional.spectral.squared_spectral_norm_upper_bound`.
    """

    def step(self) -> Float[Tensor, " inner"]:
        """Return 2/T, (inner,)."""
        return residual_step(self.weight, _t)


class CPLConv2d(ResidualConv2d):
    """1-Lipschitz convolution, :class:`CPLLinear` for kernels: (batch, channels, h, w) → the same shape.

    Args:
        channels: Channels of the input and of the output.
        inner_channels: Number of hidden channels, kernels of V.
        kernel_size: Odd.
        bias: Whether σ's argument has a bias.
        activation: Name of σ, with slopes in [0, 1].
        padding_mode: ``zeros`` or ``circular``.
        **placement: ``device`` and ``dtype`` of the parameters.

    Guarantee: as for :class:`CPLLinear`, for every image size.

    Raises:
        ConfigError: An even kernel, a size below 1, or an unknown activation.

    Example:
        >>> import torch
        >>> CPLConv2d(4, 3)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 4, 8, 8])

    Source: as for :class:`CPLLinear`.
    """

    def step(self) -> Float[Tensor, " inner"]:
        """Return 2/T, (inner,)."""
        return residual_step(self.weight, _t)
