"""1-Lipschitz layers. A family is one file and one line in ``FAMILIES``; the laws in ``tests/test_laws.py`` hold for each."""

from __future__ import annotations

from typing import NamedTuple

from sll_zoo.layers.fold import fold, is_folded
from sll_zoo.layers.head import UnitRowsLinear
from sll_zoo.layers.residual import FoldedResidual, ResidualConv2d, ResidualLinear
from sll_zoo.layers.shape import Center, NormOneAvgPool2d, PadChannels
from sll_zoo.layers.sll import SLLConv2d, SLLLinear


class Family(NamedTuple):
    """The two layers of a family, built as ``conv(channels, inner, kernel_size)`` and ``linear(features, inner)``."""

    conv: type[ResidualConv2d]
    linear: type[ResidualLinear]


FAMILIES = {
    "sll": Family(conv=SLLConv2d, linear=SLLLinear),
}

__all__ = [
    "FAMILIES",
    "Center",
    "Family",
    "FoldedResidual",
    "NormOneAvgPool2d",
    "PadChannels",
    "SLLConv2d",
    "SLLLinear",
    "UnitRowsLinear",
    "fold",
    "is_folded",
]
