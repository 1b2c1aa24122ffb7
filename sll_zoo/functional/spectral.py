"""Spectral norms from above, and the best diagonal T there is.

A guarantee ends in ``_upper_bound``, a search result in ``_estimate``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from sll_zoo.functional.rescaling import tightened

# ‖W‖² is overestimated by at most √n^{1/k} for n units: 1.06 for 2,048. Convolutions count pixels, too, and pay more per power.
LINEAR_POWER = 64
CONV_POWER = 16


def squared_spectral_norm_upper_bound(
    weight: Float[Tensor, "inner features *kernel"], power: int | None = None
) -> Float[Tensor, ""]:
    """Return a number not below ‖W‖², differentiable: the largest entry of the tightened T at q = 1.

    The largest absolute row sum of (WᵀW)ᵏ bounds its largest eigenvalue, ‖W‖²ᵏ, for every k. Power iteration, which others use,
    approaches ‖W‖ from below and proves nothing.

    Args:
        weight: (inner, features), or a kernel (inner, channels, k, k) for circular and zero padding alike, at every image size.
        power: k, a power of 2; the bound falls to ‖W‖² as k grows.

    Source: Gram iteration, Delattre et al. 2023 (arXiv 2305.16173), with row sums in place of Frobenius norms.
    """
    if len(weight) > weight.shape[1]:
        weight = weight.transpose(0, 1)  # the same norm, and a smaller Gram matrix
    if power is None:
        power = LINEAR_POWER if weight.ndim == 2 else CONV_POWER
    return tightened(weight, weight.new_zeros(len(weight)), power).amax()


@torch.no_grad()
def trace_optimal(gram: Float[Tensor, "inner inner"], sweeps: int = 200) -> Float[Tensor, " inner"]:
    """Return a diagonal T ≽ ``gram`` whose trace is as small as a diagonal's can be, but for the safety term.

    The dual, max tr(G X) over correlation matrices X, is solved by coordinate ascent on X = Vᵀ V with unit columns; complementary
    slackness gives Tᵢ = Σⱼ Gᵢⱼ ⟨vᵢ, vⱼ⟩. What the ascent has not reached is made up for by subtracting λ_min(T − G) where it is
    negative. For evaluation and comparison; too slow for training.

    Args:
        gram: WᵀW, symmetric, float64.
        sweeps: Passes over the coordinates.

    Source: Wang, Chang and Kolter 2017, the mixing method (arXiv 1706.00476).
    """
    n = len(gram)
    generator = torch.Generator().manual_seed(0)
    # Rank √(2n) suffices for the optimum (Barvinok and Pataki).
    rank = min(n, int((2 * n) ** 0.5) + 1)
    vectors = torch.nn.functional.normalize(torch.randn(n, rank, dtype=gram.dtype, generator=generator), dim=1)
    off_diagonal = gram - torch.diag(gram.diag())
    for _ in range(sweeps):
        for i in range(n):
            vectors[i] = torch.nn.functional.normalize(off_diagonal[i] @ vectors, dim=0)
    t = (gram * (vectors @ vectors.mT)).sum(1)
    missing: Tensor = (-torch.linalg.eigvalsh(torch.diag(t) - gram).min()).clamp_min(0)
    return t + missing
