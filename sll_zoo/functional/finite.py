"""Whether weights are numbers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sll_zoo.errors import WeightsError


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that hold NaN or infinity."""
    # A finite sum has finite terms, and is found in a tenth of the time.
    return [name for name, value in state.items() if not (value.sum().isfinite() or value.isfinite().all())]


def require_finite(what: str, state: Mapping[str, Tensor], remedy: str = "train or load it again") -> None:
    """Refuse weights that hold NaN or infinity.

    Args:
        what: They are of: begins the error.
        state: The tensors by name, of any dtype.
        remedy: Ends the error.

    Raises:
        WeightsError: It names three of the tensors.
    """
    if broken := not_finite(state):
        raise WeightsError(f"{what} has NaN or infinity in {', '.join(broken[:3])}", remedy)
