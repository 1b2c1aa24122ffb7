"""Checks of weights for NaN and infinity."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sll_zoo.errors import WeightsError


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinity."""
    # The sum is checked first, in a tenth of the time: if it is finite, so are all terms.
    return [name for name, value in state.items() if not (value.sum().isfinite() or value.isfinite().all())]


def require_finite(what: str, state: Mapping[str, Tensor], remedy: str = "train or load it again") -> None:
    """Refuse weights that hold NaN or infinity.

    Args:
        what: Owner of the weights, with which the error begins, such as "the network".
        state: The tensors by name, of any dtype.
        remedy: What to do about it, with which the error ends.

    Raises:
        WeightsError: A tensor holds NaN or infinity; up to three are named.
    """
    if broken := not_finite(state):
        raise WeightsError(f"{what} has NaN or infinity in {', '.join(broken[:3])}", remedy)
