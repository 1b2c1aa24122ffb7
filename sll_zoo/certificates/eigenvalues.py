"""The largest eigenvalue of a layer's condition, at every frequency of a convolution, for the audit.

The linear algebra here is independent of the layers' own choices of T, so that it shows a mistake in a layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from sll_zoo.functional.convolution import torus

# Relative error of the largest eigenvalue of many matrices, above the rounding of a Cholesky decomposition of some thousand rows.
CLOSE = 1e-11
# Products with each matrix by which the one with the largest eigenvalue is guessed.
STEPS = 8
# Part of a vector outside of a span, below which it is rounding.
ROUNDING = 1e-10


def largest_ratio(weight: Tensor, inverse_t: Tensor, x: Tensor, padding_mode: str) -> float:
    """Return λ_max(T^{-1/2} V Vᵀ T^{-1/2}), exact for dense weights and circular padding, an upper bound for zero padding."""
    scaled = weight * inverse_t.sqrt().view(-1, *(1,) * (weight.ndim - 1))
    if scaled.ndim == 4 and scaled.shape[-1] == 1:  # the same matrix at every pixel
        scaled = scaled[:, :, 0, 0]
    if len(scaled) > scaled.shape[1]:  # the other product has the same eigenvalues, and fewer rows
        scaled = scaled.transpose(0, 1).flip(2, 3) if scaled.ndim == 4 else scaled.mT
    if scaled.ndim == 2:
        return largest_eigenvalue((scaled @ scaled.mT)[None])
    return largest_eigenvalue(gram_matrices(scaled, torus(weight, x, padding_mode)))


def gram_matrices(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Return ``A Aᴴ`` for the matrix A of the circular convolution at each frequency, or its opposite, (count, out, out).

    The kernel's correlation with itself has these as its Fourier coefficients, and is much smaller than all of them. At opposite
    offsets it is transposed, and at opposite frequencies the matrices are conjugate: one of both is enough.
    """
    out, _, edge, _ = kernel.shape
    offsets = [(down, right) for down in range(edge) for right in range(1 - edge, edge) if down or right >= 0]
    taps = kernel.permute(2, 3, 0, 1).contiguous()
    correlations = kernel.new_zeros(len(offsets), out, out)
    for (down, right), correlation in zip(offsets, correlations, strict=True):
        for row, column in product(range(edge - down), range(max(0, -right), edge - max(0, right))):
            correlation.addmm_(taps[row + down, column + right], taps[row, column].mT)
    correlations[0] /= 2  # offset 0 is its own opposite
    height, width = size
    frequencies = [(u, v) for u, v in product(range(height), range(width)) if (u, v) <= (-u % height, -v % width)]
    turns = kernel.new_tensor(frequencies) / kernel.new_tensor(size) @ kernel.new_tensor(offsets).mT
    angles, opposite = -2 * math.pi * turns, correlations.mT
    parts = angles.cos() @ (correlations + opposite).flatten(1), angles.sin() @ (correlations - opposite).flatten(1)
    return torch.complex(*parts).view(-1, out, out)


def largest_eigenvalue(grams: Tensor) -> float:
    """Return the largest eigenvalue of all positive semidefinite matrices (count, n, n), up to ``CLOSE`` of it.

    Eigenvalues are computed of the matrix for which a search finds the largest one. That the others have no larger ones is proved
    by their Cholesky decompositions, in a tenth of the time; those without a proof go on.
    """
    largest, estimates = 0.0, guesses(grams)
    if not estimates.isfinite().all():  # a maximum with NaN would keep the other number, and prove nothing
        return math.inf
    while len(grams):
        at = int(estimates.argmax())
        own = float(torch.linalg.eigvalsh(grams[at]).amax())
        largest = max(largest, own)
        rest = grams.neg()
        rest.diagonal(dim1=1, dim2=2).add_(largest * (1 + CLOSE))
        unproved = torch.linalg.cholesky_ex(rest).info > 0
        unproved[at] = False
        grams, estimates = grams[unproved], estimates[unproved]
    return largest


def guesses(matrices: Tensor) -> Tensor:
    """Return the largest quotients of Hermitian matrices (count, n, n) that a short search finds, (count,)."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(matrices.shape[-1], 1, dtype=torch.float64, generator=generator).to(matrices)
    return largest_quotients(lambda vectors: matrices @ vectors, start.expand(len(matrices), -1, 1), STEPS)


def largest_quotients(apply: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> Tensor:
    """Return the largest ⟨d, Sd⟩/⟨d, d⟩ for d in the span of v, Sv, S²v, …, for each vector v of a batch, (batch,).

    This is Lanczos' method. The quotient is computed of the sum d itself, whatever rounding does to the basis of the span; it is
    NaN where something overflows.

    Args:
        apply: v ↦ Sv for a batch of vectors, S Hermitian.
        start: v, (batch, ...).
        steps: Number of products with S.
    """
    vector = start.flatten(1)
    steps = min(steps, vector.shape[1])
    vectors, images = (vector.new_empty(len(vector), steps, vector.shape[1]) for _ in range(2))
    for step in range(steps):
        earlier, length = vectors[:, :step], torch.linalg.vector_norm(vector, dim=1, keepdim=True)
        for _ in range(2):  # once leaves what rounding adds of the earlier ones
            vector = vector - ((earlier.conj() @ vector[:, :, None]).mT @ earlier)[:, 0]
        rest = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
        vectors[:, step] = vector = (vector / rest).where(rest > ROUNDING * length, 0)
        images[:, step] = vector = apply(vector.view(start.shape)).flatten(1)
    products = vectors.conj() @ images.mT
    finite = products.isfinite().all(2).all(1)
    coefficients = torch.linalg.eigh(products.where(finite[:, None, None], 0)).eigenvectors[:, :, -1:].mT
    best, image = coefficients @ vectors, coefficients @ images
    quotients = (best.conj() * image).real.sum((1, 2)) / best.abs().square().sum((1, 2)).clamp_min(1e-300)
    found: Tensor = quotients.where(finite, math.nan)
    return found
