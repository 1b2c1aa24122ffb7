"""A user's mistakes, told apart from the program's."""

from __future__ import annotations

import sys

from sll_zoo.errors import SllZooError

# Those of packages that take long to import: one that is not loaded has raised nothing.
_FOREIGN = (("jsonargparse", "ArgumentError"), ("lightning.fabric.utilities.exceptions", "MisconfigurationException"))


def mistakes() -> tuple[type[Exception], ...]:
    """Return the kinds of errors that a user can cause, the most telling first."""
    foreign = (getattr(sys.modules[module], name) for module, name in _FOREIGN if module in sys.modules)
    return (SllZooError, *foreign, OSError, ModuleNotFoundError)


def suspects() -> tuple[type[Exception], ...]:
    """Return the kinds of errors behind which may be a mistake: jsonargparse wraps what a constructor raises in a ValueError."""
    return (*mistakes(), ValueError)


def mistake_of(error: BaseException | None) -> str:
    """Return in one line what the user did wrong, or nothing if the fault is not the user's."""
    chain = []
    while error:
        chain.append(error)
        error = error.__cause__ or error.__context__
    for kind in mistakes():
        for link in chain:
            if isinstance(link, kind):
                return " ".join(str(link).split())[:500]
    return ""
