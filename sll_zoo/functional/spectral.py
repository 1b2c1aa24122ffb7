"""Spectral norms from above, and the best diagonal T there is.

A guarantee ends in ``_upper_bound``, a search result in ``_estimate``.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Inexact
from torch import Tensor

from sll_zoo.functional.convolution import frequencies
from sll_zoo.functional.rescaling import floored_log, gram_power

# ‖W‖² is overestimated by at most √n^{1/k} for n units: 1.06 for 2,048. Convolutions pay more per power.
LINEAR_POWER = 64
CONV_POWER = 16
# Sampled frequencies along an axis for each pixel of the kernel beyond one; ‖W‖² is raised by 2 % for those between samples.
DENSITY = 16


def squared_spectral_norm_upper_bound(
    weight: Float[Tensor, "inner features *kernel"], power: int | None = None
) -> Float[Tensor, ""]:
    """Return a number not below ‖W‖², differentiable.

    The largest absolute row sum of (WᵀW)ᵏ bounds its largest eigenvalue, ‖W‖²ᵏ. Power iteration, which others use, approaches
    ‖W‖ from below and proves nothing. A convolution has one matrix for each pair of frequencies, of which N × N are looked at.
    Between two of them nothing is much larger: for a unit vector v, p = v* WᵀW v ≥ 0 is a trigonometric polynomial of degree
    D = kernel size − 1 along each axis. By Riesz' lemma one that reaches its maximum M at t is at least M cos²(D (s − t)/2) at s,
    up to |s − t| = π/D, and t is at most π/N from the next frequency. So ‖W‖² is at most the largest found over cos⁴(π D/(2N)),
    at every image size, for circular and zero padding alike.

    Args:
        weight: (inner, features), or a kernel (inner, channels, k, k).
        power: k, a power of 2; the bound falls as k grows.

    Source: Gram iteration, Delattre et al. 2023 (arXiv 2305.16173), with row sums in place of Frobenius norms: where W is
        orthogonal they add nothing.
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


@torch.no_grad()
def trace_optimal(gram: Inexact[Tensor, "*frequencies inner inner"], sweeps: int = 200) -> Float[Tensor, " inner"]:
    """Return one diagonal T ≽ ``gram``, at every frequency, of as small a trace as a diagonal's can be, but for the safety term.

    The dual is to maximise Σ tr(G X) over X ≽ 0, one for each frequency, whose diagonals sum to 1. It is solved by coordinate
    ascent on X = U U*, where the rows of U at all frequencies make one unit vector uᵢ for each unit i. Complementary slackness
    gives Tᵢ uᵢ = Σⱼ Gᵢⱼ uⱼ. What the ascent has not reached is made up for by subtracting λ_min(T − G) where it is negative, and
    n times that bounds how far the trace is from the least. For evaluation and comparison; too slow for training.

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
    # The diagonal part that all frequencies share adds the same to every X and only slows the ascent: it is removed.
    ascended = gram - torch.diag(gram.diagonal(dim1=1, dim2=2).real.amin(0)).to(gram.dtype)
    for _ in range(sweeps):
        for i in range(n):
            vector = torch.einsum("fj,fjr->fr", ascended[:, i], vectors)
            vectors[:, i] = torch.where(vector.norm() > 0, vector / vector.norm(), vectors[:, i])
    t = ((gram @ vectors).conj() * vectors).real.sum((0, 2))
    missing: Tensor = (-torch.linalg.eigvalsh(torch.diag(t) - gram).min()).clamp_min(0)
    return t + missing
