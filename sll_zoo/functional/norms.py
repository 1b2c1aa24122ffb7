"""The norms in which perturbations are measured, and what lengths, balls and steps are in each of them.

A network states its norm in one field, ``norm``: ``"2"``, or ``"inf"`` for the largest change of a pixel. In print and in records
it is ``L2`` or ``Linf``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from sll_zoo.errors import InputError

Norm = Literal["2", "inf"]
NORMS: tuple[Norm, ...] = ("2", "inf")
REMEDY = "radii in different norms cannot be compared: measure and show each norm by itself"


def norm_label(norm: Norm) -> Literal["L2", "Linf"]:
    """Return the name of a norm in print and in records.

    Example:
        >>> norm_label("inf")
        'Linf'
    """
    return "L2" if norm == "2" else "Linf"


def norm_of(model: object) -> Norm:
    """Return the norm that a network states for its Lipschitz constants; one that says nothing means L2.

    Raises:
        InputError: Another value than ``"2"`` and ``"inf"``.
    """
    stated = getattr(model, "norm", "2")
    if isinstance(stated, nn.Module):  # a normalisation layer of this name
        return "2"
    return require_norm(stated, type(model).__name__)


def require_norm(norm: object, name: str) -> Norm:
    """Return ``norm`` if there is such a norm.

    Raises:
        InputError: Another value than ``"2"`` and ``"inf"``.
    """
    if norm not in NORMS:
        raise InputError(f"norm={norm!r} of {name}", "give '2' or 'inf'")
    return norm


def common_norm(norms: Iterable[Norm]) -> Norm:
    """Return the norm that all of ``norms``, at least one, are.

    Raises:
        InputError: Two norms.

    Example:
        >>> common_norm(["inf", "inf"])
        'inf'
    """
    first, *others = dict.fromkeys(norms)
    if others:
        raise InputError(f"{norm_label(first)} together with {norm_label(others[0])}", REMEDY)
    return first


def lengths(x: Tensor, norm: Norm) -> Tensor:
    """Return the norm of each tensor of a batch, (batch,)."""
    found: Tensor = torch.linalg.vector_norm(x.flatten(1), ord=float(norm), dim=1)
    return found


def diameter(shape: Iterable[int], norm: Norm) -> float:
    """Return the largest distance of two images of a shape with values in [0, 1].

    Example:
        >>> diameter((1, 8, 8), "2"), diameter((1, 8, 8), "inf")
        (8.0, 1.0)
    """
    return math.sqrt(math.prod(shape)) if norm == "2" else 1.0
