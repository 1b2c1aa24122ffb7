"""Spectral norms from above, and the best diagonal T there is.

A guarantee ends in ``_upper_bound``, a search result in ``_estimate``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Inexact
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
    # Rank √(2n) suffices for the optimum (Barvinok and Pataki).
    rank = min(n, int((2 * n) ** 0.5) + 1)
    vectors = torch.randn(len(gram), n, rank, dtype=gram.dtype, generator=generator)
    vectors /= vectors.norm(dim=(0, 2), keepdim=True)
    # The part of the diagonal that all frequencies share adds the same to every X, and slows the ascent.
    ascended = gram - torch.diag(gram.diagonal(dim1=1, dim2=2).real.amin(0)).to(gram.dtype)
    for _ in range(sweeps):
        for i in range(n):
            vector = torch.einsum("fj,fjr->fr", ascended[:, i], vectors)
            vectors[:, i] = vector / vector.norm().clamp_min(torch.finfo(vector.dtype).tiny)
    t = ((gram @ vectors).conj() * vectors).real.sum((0, 2))
    missing: Tensor = (-torch.linalg.eigvalsh(torch.diag(t) - gram).min()).clamp_min(0)
    return t + missing
