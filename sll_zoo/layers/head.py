"""The classifier on top of a 1-Lipschitz body, and the constants that turn its logits into radii."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sll_zoo.functional.fast.products import full_precision
from sll_zoo.functional.rescaling import safe_reciprocal, to_unit_size


class UnitRowsLinear(nn.Module):
    """x ↦ W̃ x + b with rows w̃ᵢ = wᵢ/‖wᵢ‖: every logit is 1-Lipschitz, fᵢ − fⱼ is ‖w̃ᵢ − w̃ⱼ‖-Lipschitz.

    The layer as a whole is not 1-Lipschitz; :meth:`pairwise_lipschitz` is what a certificate needs. A row of zeros stays zero.

    Args:
        in_features: Size of the input.
        out_features: Number of classes.
        bias: Whether the logits have a bias.

    Example:
        >>> import torch
        >>> UnitRowsLinear(4, 3)(torch.zeros(2, 4)).shape
        torch.Size([2, 3])

    Source: last-layer normalisation, Singla, Singla and Feizi 2022 (arXiv 2108.04062).
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.bias = nn.Parameter(torch.empty(out_features)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight (Xavier normal) and bias (uniform, ±1/√in_features)."""
        nn.init.xavier_normal_(self.weight)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight.shape[1])
            nn.init.uniform_(self.bias, -bound, bound)

    def unit_rows(self) -> Float[Tensor, "classes features"]:
        """Return W̃."""
        with full_precision(self.weight.device.type):
            weight = to_unit_size(self.weight)  # W̃ does not depend on the size of W
            return (weight * safe_reciprocal(weight.square().sum(1)).sqrt()[:, None]).to(self.weight.dtype)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        """Return the logits."""
        return F.linear(x, self.unit_rows(), self.bias)

    def pairwise_lipschitz(self) -> Float[Tensor, "classes classes"]:
        """Return L in float64, Lᵢⱼ = ‖w̃ᵢ − w̃ⱼ‖: the Lipschitz constants of the logit differences."""
        return pairwise_distances(self.unit_rows().double())

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}"


def pairwise_distances(rows: Float[Tensor, "classes features"]) -> Float[Tensor, "classes classes"]:
    """Return the L2 distances between all rows, of norm at most 1, to full precision.

    The square root of ‖wᵢ‖² + ‖wⱼ‖² − 2⟨wᵢ, wⱼ⟩ is fast, but loses digits where two rows are close. If any two are, all distances
    are computed from the differences of rows.
    """
    squares = rows.square().sum(1)
    squared = squares[:, None] + squares - 2 * rows @ rows.mT
    squared.fill_diagonal_(1.0)
    if (squared < 0.01).any():
        return torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    own = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    return squared.sqrt().masked_fill(own, 0.0)  # not in place: the gradient needs the square roots
