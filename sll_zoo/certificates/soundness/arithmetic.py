"""The standard model of floating-point arithmetic: error bounds of sums of products.

Reference: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, chapters 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Arithmetic:
    """A floating-point type.

    Attributes:
        unit: u, the relative error of one operation.
        tiny: The smallest normal number: at least the error of an operation that underflows, flushed to zero or not.
        largest: The largest finite number.
    """

    unit: float
    tiny: float
    largest: float

    def gamma(self, n: int) -> float:
        """Return γ_n = nu/(1 − nu), the relative error of n operations in a row; infinite where it exceeds 1."""
        return n * self.unit / (1 - n * self.unit) if 2 * n * self.unit < 1 else float("inf")


def arithmetic_of(dtype: torch.dtype) -> Arithmetic:
    """Return the arithmetic of a floating-point dtype."""
    info = torch.finfo(dtype)
    return Arithmetic(info.eps / 2, info.tiny, info.max)


DOUBLE = arithmetic_of(torch.float64)
