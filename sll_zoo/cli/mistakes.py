"""A user's mistakes, told apart from the program's."""

from __future__ import annotations

import sys

from sll_zoo.errors import SllZooError

# Errors of packages that take long to import; a package that is not loaded has raised nothing.
_FOREIGN = (("jsonargparse", "ArgumentError"), ("lightning.fabric.utilities.exceptions", "MisconfigurationException"))


def mistakes() -> tuple[type[Exception], ...]:
    """Return the kinds of errors that a user can cause, those with the best messages first."""
    foreign = (getattr(sys.modules[module], name) for module, name in _FOREIGN if module in sys.modules)
    return (SllZooError, *foreign, OSError, ModuleNotFoundError)


def suspects() -> tuple[type[Exception], ...]:
    """Return the kinds of errors that may come from a mistake: jsonargparse wraps errors of constructors in a ValueError."""
    return (*mistakes(), ValueError)


def mistake_of(error: BaseException | None) -> str:
    """Return the user's mistake in one line, or an empty text if the fault is not the user's."""
    chain = []
    while error:
        chain.append(error)
        error = error.__cause__ or error.__context__
    for kind in mistakes():
        for link in chain:
            if isinstance(link, kind):
                return " ".join(str(link).split())[:500]
    return ""
