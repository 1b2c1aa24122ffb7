"""1-Lipschitz layers. A family is one file and one line in ``FAMILIES``; the laws in ``tests/test_laws.py`` hold for each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, cast

from torch import nn

from sll_zoo.functional.norms import Norm
from sll_zoo.layers.activation import Absolute, Householder, MaxMin
from sll_zoo.layers.aol import AOLConv2d, AOLLinear
from sll_zoo.layers.bro import BROConv2d, BROLinear
from sll_zoo.layers.circular import FoldedCircular
from sll_zoo.layers.cpl import CPLConv2d, CPLLinear
from sll_zoo.layers.dct import PatchDCT
from sll_zoo.layers.folding import fold, is_folded
from sll_zoo.layers.head import UnitRowsLinear
from sll_zoo.layers.linear_form import FoldedLinearForm
from sll_zoo.layers.lires import LiResConv2d, LiResLinear
from sll_zoo.layers.orthogonal import OrthogonalConv2d, OrthogonalLinear
from sll_zoo.layers.recurrent import LipschitzRNNCell, Recurrent
from sll_zoo.layers.residual import FoldedResidual, ResidualStack
from sll_zoo.layers.sandwich import FoldedSandwich, SandwichConv2d, SandwichLinear
from sll_zoo.layers.shape import Center, NormOneAvgPool2d, PadChannels, PixelUnshuffle, TruncateChannels
from sll_zoo.layers.sll import SLLConv2d, SLLLinear
from sll_zoo.layers.sortnet import MeanShift, SortHead, SortLinear
from sll_zoo.layers.spectral import SpectralConv2d, SpectralLinear
from sll_zoo.layers.windows import CyclicShift, WindowPartition, WindowReverse


class Family(NamedTuple):
    """The convolution and the dense layer of a family, and how they are built.

    ``residual`` layers are built as ``conv(channels, inner, kernel_size)`` and ``linear(features, inner)``; the others, which may
    change the number of channels, as ``conv(in, out, kernel_size)`` and ``linear(in, out)``. A ``linear`` map needs an activation
    after it, a ``sandwich`` has its own. ``t`` says what T is, for tables.
    """

    form: Literal["residual", "linear", "sandwich"]
    t: str
    conv: Callable[..., nn.Module]
    linear: Callable[..., nn.Module]

    @property
    def classes(self) -> tuple[type[nn.Module], ...]:
        """The classes of the two layers."""
        made = [make.func if isinstance(make, partial) else make for make in (self.conv, self.linear)]
        return cast("tuple[type[nn.Module], ...]", tuple(made))

    def conv_block(self, channels: int, inner_channels: int, kernel_size: int, maxmin: bool = False) -> nn.Module:
        """Return a convolutional layer that keeps the channels, with MaxMin behind it: see :meth:`_activated`."""
        return self._activated(self.conv(channels, self._second(channels, inner_channels), kernel_size), maxmin)

    def dense_block(self, features: int, inner_features: int, maxmin: bool = False) -> nn.Module:
        """Return a dense layer that keeps the features, with MaxMin behind it: see :meth:`_activated`."""
        return self._activated(self.linear(features, self._second(features, inner_features)), maxmin)

    def _second(self, outer: int, inner: int) -> int:
        return inner if self.form == "residual" else outer

    def _activated(self, layer: nn.Module, maxmin: bool) -> nn.Module:
        """Return a layer with MaxMin behind it if it has no activation, and a residual one if ``maxmin`` asks for it."""
        return nn.Sequential(layer, MaxMin()) if self.form == "linear" or (maxmin and self.form == "residual") else layer


FAMILIES = {
    "sll": Family("residual", "row sums, q", SLLConv2d, SLLLinear),
    "sll2": Family("residual", "power 2, q", partial(SLLConv2d, power=2), partial(SLLLinear, power=2)),
    "sll4": Family("residual", "power 4, q", partial(SLLConv2d, power=4), partial(SLLLinear, power=4)),
    "sll8": Family("residual", "power 8, q", partial(SLLConv2d, power=8), partial(SLLLinear, power=8)),
    "cpl": Family("residual", "norm", CPLConv2d, CPLLinear),
    "aol": Family("linear", "row sums", AOLConv2d, AOLLinear),
    "spectral": Family("linear", "norm", SpectralConv2d, SpectralLinear),
    "lires": Family("linear", "norm", LiResConv2d, LiResLinear),
    "orthogonal": Family("linear", "identity", OrthogonalConv2d, OrthogonalLinear),
    "bro": Family("linear", "full, WᵀW", BROConv2d, BROLinear),
    "sandwich": Family("sandwich", "complete", SandwichConv2d, SandwichLinear),
}
"""The families of layers by their names: networks of every size are made of each."""
HEADS: dict[Norm, type[UnitRowsLinear] | type[SortHead]] = {"2": UnitRowsLinear, "inf": SortHead}
"""The head of a network in each norm: its logits have known Lipschitz constants."""

__all__ = [
    "FAMILIES",
    "HEADS",
    "AOLConv2d",
    "AOLLinear",
    "Absolute",
    "BROConv2d",
    "BROLinear",
    "CPLConv2d",
    "CPLLinear",
    "Center",
    "CyclicShift",
    "Family",
    "FoldedCircular",
    "FoldedLinearForm",
    "FoldedResidual",
    "FoldedSandwich",
    "Householder",
    "LiResConv2d",
    "LiResLinear",
    "LipschitzRNNCell",
    "MaxMin",
    "MeanShift",
    "NormOneAvgPool2d",
    "OrthogonalConv2d",
    "OrthogonalLinear",
    "PadChannels",
    "PatchDCT",
    "PixelUnshuffle",
    "Recurrent",
    "ResidualStack",
    "SLLConv2d",
    "SLLLinear",
    "SandwichConv2d",
    "SandwichLinear",
    "SortHead",
    "SortLinear",
    "SpectralConv2d",
    "SpectralLinear",
    "TruncateChannels",
    "UnitRowsLinear",
    "WindowPartition",
    "WindowReverse",
    "fold",
    "is_folded",
]
