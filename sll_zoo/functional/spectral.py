"""Upper bounds of spectral norms, and the diagonal T of smallest trace.

Names of proved bounds end in ``_upper_bound``, names of search results in ``_estimate``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from sll_zoo.functional.convolution import frequencies
from sll_zoo.functional.fast.products import full_precision
from sll_zoo.functional.rescaling import floored_log, gram_power, safe_reciprocal, to_unit_size

# Default powers k of WᵀW. ‖W‖² is overestimated by a factor of at most (√n)^{1/k} for n units: 1.06 for 2,048 units and k = 64.
# Convolutions have a smaller k, since each doubling costs them more.
LINEAR_POWER = 64
CONV_POWER = 16
# Number of frequencies sampled along an axis, divided by k − 1 for a k × k kernel. ‖W‖² is raised by 2 % to cover those between.
DENSITY = 16


def squared_spectral_norm_upper_bound(
    weight: Float[Tensor, "inner features *kernel"], power: int | None = None
) -> Float[Tensor, ""]:
    """Return a number not below ‖W‖², differentiable.

    The largest absolute row sum of (WᵀW)ᵏ bounds its largest eigenvalue, ‖W‖²ᵏ. Power iteration, which others use, approaches
    ‖W‖ from below and proves nothing. A convolution has one matrix for each pair of frequencies, of which N × N are computed.
    Between two of these the norm is not much larger: for a unit vector v, p = v* WᵀW v ≥ 0 is a trigonometric polynomial of
    degree D = kernel size − 1 along each axis. If p has its maximum M at t, then by Riesz' lemma it is at least
    M cos²(D (s − t)/2) at s, for |s − t| ≤ π/D, and t is at most π/N from the next sampled frequency. So ‖W‖² is at most the
    largest value found, divided by cos⁴(π D/(2N)), at every image size, for circular and zero padding alike.

    Args:
        weight: (inner, features), or a kernel (inner, channels, k, k).
        power: k, a power of 2; the bound falls as k grows.

    Source: Gram iteration, Delattre et al. 2023 (arXiv 2305.16173), with row sums in place of Frobenius norms: they are
        exact where W is orthogonal.
    """
    if len(weight) > weight.shape[1]:
        weight = weight.transpose(0, 1)  # Wᵀ has the same norm and a smaller Gram matrix
    operators, between = weight.to(torch.promote_types(weight.dtype, torch.float32)), 1.0
    if weight.ndim == 4 and (degree := weight.shape[-1] - 1):
        operators = frequencies(operators, (DENSITY * degree,) * 2)
        between = math.cos(math.pi / (2 * DENSITY)) ** -4
    elif weight.ndim == 4:
        operators = operators[:, :, 0, 0]
    power = power or (LINEAR_POWER if weight.ndim == 2 else CONV_POWER)
    gram, log_scale = gram_power(operators, power)
    return ((floored_log(gram.abs().sum(-1).amax()) + log_scale) / power).exp() * between


def contraction(weight: Float[Tensor, "out in_ *kernel"]) -> Float[Tensor, "out in_ *kernel"]:
    """Return W/c, with the upper bound c of ‖W‖ whose square :func:`squared_spectral_norm_upper_bound` gives; 0 for W = 0."""
    with full_precision(weight.device.type):
        weight = to_unit_size(weight)  # the quotient does not depend on the size of W
        return weight * safe_reciprocal(squared_spectral_norm_upper_bound(weight)).sqrt()


@torch.no_grad()
def trace_optimal(gram: Inexact[Tensor, "*frequencies inner inner"], sweeps: int = 200) -> Float[Tensor, " inner"]:
    """Return the diagonal T ≽ ``gram``, valid at every frequency, of smallest trace, up to a correction that makes it valid.

    The dual problem maximises Σ tr(G X) over X ≽ 0, one X for each frequency, where the diagonals of all X sum to 1. It is solved
    by coordinate ascent on X = U U*, where the rows of U at all frequencies make one unit vector uᵢ for each unit i.
    Complementary slackness gives Tᵢ uᵢ = Σⱼ Gᵢⱼ uⱼ. The ascent stops before the optimum, so that λ_min(T − G) may be negative:
    then it is subtracted from every Tᵢ, and the trace exceeds the smallest by at most n times this correction. This is for
    evaluation and comparison; it is too slow for training.

    Args:
        gram: WᵀW, Hermitian, float64 or complex128: of a dense weight (inner, inner), of a convolution one matrix for each
            frequency (:func:`~sll_zoo.functional.convolution.frequencies`).
        sweeps: Passes over the coordinates.

    Source: Wang, Chang and Kolter 2017, the mixing method (arXiv 1706.00476), here for many matrices at a time.
    """
    n = gram.shape[-1]
    gram = gram.reshape(-1, n, n)
    generator = torch.Generator().manual_seed(0)
    # A factor of rank √(2n) reaches the optimum (Barvinok and Pataki).
    rank = min(n, int((2 * n) ** 0.5) + 1)
    vectors = torch.randn(len(gram), n, rank, dtype=gram.dtype, generator=generator)
    vectors /= vectors.norm(dim=(0, 2), keepdim=True)
    # The part of the diagonal that all frequencies share is removed: it adds the same for every X, and only slows the ascent.
    ascended = gram - torch.diag(gram.diagonal(dim1=1, dim2=2).real.amin(0)).to(gram.dtype)
    for _ in range(sweeps):
        for i in range(n):
            vector = torch.einsum("fj,fjr->fr", ascended[:, i], vectors)
            vectors[:, i] = torch.where(vector.norm() > 0, vector / vector.norm(), vectors[:, i])
    t = ((gram @ vectors).conj() * vectors).real.sum((0, 2))
    missing: Tensor = (-torch.linalg.eigvalsh(torch.diag(t) - gram).min()).clamp_min(0)
    return t + missing
