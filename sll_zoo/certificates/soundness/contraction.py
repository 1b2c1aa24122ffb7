"""A proof by computation that a stored weight, as it is rounded, has norm at most 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sll_zoo.certificates.soundness.arithmetic import DOUBLE
from sll_zoo.errors import WeightsError
from sll_zoo.functional.convolution import frequencies, torus

# The shrinkage starts at FIRST times the error of the proof, and is multiplied by NEXT until the proof succeeds, up to LARGEST.
FIRST, NEXT, LARGEST = 4.0, 8.0, 1e-3
# Entries of the matrices that are decomposed at a time.
CHUNK = 2**24


def shrunk_until_proved(name: str, matrices: Callable[[float], Tensor], error: float) -> float:
    """Return the smallest shrinkage δ that was tried for which every matrix is proved to be a contraction.

    Args:
        name: Name of the layer, for the error.
        matrices: Returns, for a δ, the matrices (..., rows, cols) of the layer as it is stored after shrinking by 1 − δ.
        error: Rounding error of the proof itself: see :func:`error_of_proof`.

    Raises:
        WeightsError: The proof fails for each δ up to 1e-3: the layer is not 1-Lipschitz, or this arithmetic is too coarse.
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
        bound: |W|, summed over the taps of a kernel: see :func:`absolute`.
        terms: Number of taps that are summed in an entry, 1 for a dense weight.
    """
    rows, cols = bound.shape
    # Entries are off by 128 units for square root, product and twiddle factors; in the sums a complex product counts as four.
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
    """Return the matrices whose norms bound that of a dense weight, or of the convolution of images like ``x`` with a kernel."""
    return weight[None] if weight.ndim == 2 else frequencies(weight, torus(weight, x, padding_mode))


def absolute(weight: Tensor) -> Tensor:
    """Return |W| as a matrix (out, in), summed over the taps of a kernel: it bounds every frequency, entry by entry."""
    return weight.abs() if weight.ndim == 2 else weight.abs().sum((2, 3))
