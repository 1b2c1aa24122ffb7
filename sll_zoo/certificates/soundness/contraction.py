"""A proof by computation that a stored weight, as it is rounded, has norm at most 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sll_zoo.certificates.soundness.arithmetic import DOUBLE
from sll_zoo.errors import WeightsError
from sll_zoo.functional.convolution import frequencies, torus

# A weight is shrunk by at least four times the error of the proof itself, then by eight times more until the proof succeeds.
FIRST, NEXT, LARGEST = 4.0, 8.0, 1e-3
# Matrices of so many entries are decomposed at a time.
CHUNK = 2**24


def shrunk_until_proved(name: str, matrices: Callable[[float], Tensor], error: float) -> float:
    """Return the smallest shrinkage δ that was tried for which every matrix is proved to be a contraction.

    Args:
        name: Of the layer, for the error.
        matrices: Gives the matrices (..., rows, cols) of the layer as it is stored after shrinking by a factor of 1 − δ.
        error: Of the proof, by its own rounding: see :func:`error_of_proof`.

    Raises:
        WeightsError: No δ up to 1e-3 will do: the layer breaks its claim, or its condition is too bad for this arithmetic.
    """
    shrinkage = FIRST * error
    while shrinkage <= LARGEST:
        if _is_contraction(matrices(shrinkage), error):
            return shrinkage
        shrinkage *= NEXT
    raise WeightsError(f"{name}: a norm of at most 1 cannot be proved in this arithmetic", "audit the network, or use float64")


def error_of_proof(bound: Tensor, terms: int) -> float:
    """Return a bound of the proof's own rounding error, for matrices bounded entry by entry by ``bound`` (rows, cols).

    Args:
        bound: |W|, for a kernel summed over its taps.
        terms: Number of taps that make an entry, 1 for a dense weight.
    """
    rows, cols = bound.shape
    # Entries: 128 units for the square root, the product and the twiddle factors; then the sums, with complex products as four.
    gram = DOUBLE.gamma(4 * (max(rows, cols) + terms) + 128) * float(bound.square().sum())
    cholesky = DOUBLE.gamma(4 * (min(rows, cols) + 2)) * min(rows, cols)
    return 1.01 * (gram + cholesky)


def _is_contraction(matrices: Tensor, error: float) -> bool:
    """Return whether Cholesky decomposes (1 − error) I − W Wᴴ: then ‖W‖ ≤ 1, rounding included.

    A decomposition that runs to its end proves A + E ≽ 0 for its rounding error E; ``error`` bounds E and that of W Wᴴ.
    """
    rows, cols = matrices.shape[-2:]
    small = min(rows, cols)
    for part in torch.split(matrices.reshape(-1, rows, cols), max(1, CHUNK // (rows * cols))):
        gram = part @ part.mH if rows <= cols else part.mH @ part
        identity = torch.eye(small, dtype=gram.dtype, device=gram.device)
        if torch.linalg.cholesky_ex((1 - error) * identity - gram).info.any():
            return False
    return True


def operators(weight: Tensor, x: Tensor, padding_mode: str) -> Tensor:
    """Return the matrices that bound a dense weight or the convolution of images like ``x`` with a kernel."""
    return weight[None] if weight.ndim == 2 else frequencies(weight, torus(weight, x, padding_mode))


def absolute(weight: Tensor) -> Tensor:
    """Return |W| as a matrix (out, in), for a kernel summed over its taps: it bounds every frequency, entry by entry."""
    return weight.abs() if weight.ndim == 2 else weight.abs().sum((2, 3))
