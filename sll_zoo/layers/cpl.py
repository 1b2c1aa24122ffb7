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
    """Return ‖W‖² of ``weight / scale`` for every unit."""
    return squared_spectral_norm_upper_bound(weight.to(scale.dtype) / scale).expand(len(weight))


class CPLLinear(ResidualLinear):
    """h(x) = x − 2/‖V‖² Vᵀ σ(V x + b): see :class:`~sll_zoo.layers.residual.ResidualLinear` for the arguments.

    Guarantee: in exact arithmetic, for any weights; in float64 to 1e-9, in float32 to 1e-5 (``tests/test_laws.py``).

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
    """The same for a convolution, at every image size: see :class:`~sll_zoo.layers.residual.ResidualConv2d`.

    Example:
        >>> import torch
        >>> CPLConv2d(4, 3)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 4, 8, 8])

    Source: as for :class:`CPLLinear`.
    """

    def step(self) -> Float[Tensor, " inner"]:
        """Return 2/T, (inner,)."""
        return residual_step(self.weight, _t)
