"""Checks of a network's structure: certificates are for chains of layers of known kinds, with nothing attached to them.

No spectral norm is computed here; :func:`~sll_zoo.audit` bounds the norm of each layer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import torch
from torch import nn

from sll_zoo.compat import has_global_forward_hooks
from sll_zoo.errors import ConfigError
from sll_zoo.functional.norms import Norm, norm_label, norm_of
from sll_zoo.layers import (
    FAMILIES,
    HEADS,
    Absolute,
    Center,
    CyclicShift,
    FoldedCircular,
    FoldedLinearForm,
    FoldedResidual,
    FoldedSandwich,
    Householder,
    MaxMin,
    MeanShift,
    NormOneAvgPool2d,
    PadChannels,
    PatchDCT,
    PixelUnshuffle,
    Recurrent,
    ResidualStack,
    SortHead,
    SortLinear,
    TruncateChannels,
    UnitRowsLinear,
    WindowPartition,
    WindowReverse,
)
from sll_zoo.layers.attachments import HOOK, attachment, replacement
from sll_zoo.models.chain import random_images, trace
from sll_zoo.models.classifier import LipschitzClassifier

Class = TypeVar("Class", bound=type)
CONTAINERS = (nn.Sequential, ResidualStack)
# Layers that are 1-Lipschitz in each norm, and the heads.
LAYERS: dict[Norm, tuple[type, ...]] = {
    "2": (
        *(kind for family in FAMILIES.values() for kind in family.classes),
        *(FoldedCircular, FoldedLinearForm, FoldedResidual, FoldedSandwich, UnitRowsLinear),
        *(Center, PatchDCT, PadChannels, TruncateChannels, NormOneAvgPool2d, MaxMin, Householder, Absolute),
        *(WindowPartition, CyclicShift, WindowReverse, Recurrent),
        *(nn.Identity, nn.Flatten, nn.ReLU, nn.PixelUnshuffle, PixelUnshuffle, nn.AdaptiveMaxPool2d),
    ),
    "inf": (SortLinear, SortHead, MeanShift, Center, nn.Identity, nn.Flatten),
}
# Settings without which a layer is not 1-Lipschitz: they can be changed by hand.
CONDITIONS: dict[type, Callable[[Any], bool]] = {
    NormOneAvgPool2d: lambda pool: pool.divisor_override == pool.kernel_size == pool.stride,
    nn.AdaptiveMaxPool2d: lambda pool: pool.output_size in (1, (1, 1)),
    SortLinear: lambda layer: 0 <= layer.rho < 1,
    SortHead: lambda layer: 0 <= layer.rho < 1,
}
# Methods that no network may replace: networks differ in their layers and in ``body``.
FIXED = ("__call__", "forward", "forward_features", "_centred", "forward_head", "pairwise_lipschitz", "require_structure")
REASON = "certificates are for chains of the layers of sll_zoo.layers, as they are"
# Classes of networks whose bodies are known to be chains: they need not be traced.
_known_networks: set[type] = set()


class Fault(NamedTuple):
    """A fault of a module: its name in the network, empty for the network itself, its class, and the problem."""

    name: str
    kind: str
    problem: str

    def error(self) -> ConfigError:
        """Return the error to raise."""
        remedy = "for layers of your own, write an nn.Module with a pairwise_lipschitz() of its own"
        if HOOK in self.problem:
            remedy = "remove it; Lightning's profiler 'pytorch' has one everywhere but with record_module_names=False"
        return ConfigError(f"{self.name or 'the network'} ({self.kind}): {self.problem}", f"{REASON}; {remedy}")


def known_network(network: Class) -> Class:
    """Register a class of networks whose body is known to be a chain of its layers, as a class decorator."""
    _known_networks.add(network)
    return network


def faults(network: LipschitzClassifier) -> Iterator[Fault]:
    """Yield the faults for which a network is no chain of layers of known kinds, as far as they show without bounding layers."""
    yield from attachments(network)
    norm = norm_of(network)
    for name, module in network.named_modules(remove_duplicate=False):
        if problem := _problem_of(name, module, norm) if name else _problem_of_network(network):
            yield Fault(name, _kind(module).__name__, problem)
    if type(network.head) not in (HEADS[norm], nn.Identity):
        yield Fault("head", type(network.head).__name__, "it is no head whose constants are known")


def require_structure(network: LipschitzClassifier) -> None:
    """Refuse a network that is no chain of layers of known kinds, or that something is attached to.

    Raises:
        ConfigError: The first fault, with the name of the layer.
    """
    for fault in faults(network):
        raise fault.error()


def attachments(network: nn.Module) -> Iterator[Fault]:
    """Yield a fault for each module with a hook or replaced attribute that may change its result."""
    if has_global_forward_hooks():
        yield Fault("", type(network).__name__, f"all modules have {HOOK}")
    for name, module in network.named_modules():
        if problem := replacement(module) if _is_sharded(module) else attachment(module):
            yield Fault(name, _kind(module).__name__, problem)


def _problem_of(name: str, module: nn.Module, norm: Norm) -> str:
    kind = _kind(module)
    if kind is UnitRowsLinear and name != "head":
        return "a head within a network, which is not 1-Lipschitz"
    if kind not in (*CONTAINERS, *LAYERS[norm]):
        other = any(kind in layers for layers in LAYERS.values())
        return f"it is not known to be 1-Lipschitz in {norm_label(norm)}" if other else "nothing is known of a layer of this kind"
    kept = _is_well_formed(module) and (kind not in CONDITIONS or CONDITIONS[kind](module))
    return "" if kept else "with these settings it is not 1-Lipschitz"


def _is_well_formed(layer: Any) -> bool:
    """Return whether the proofs of the families cover a layer's settings: odd square kernels, known powers and paddings."""
    kernel = getattr(layer, "weight", torch.empty(0)).shape[2:]
    return (
        (not kernel or (len(kernel) == 2 and kernel[0] == kernel[1] and kernel[0] % 2 == 1))
        and getattr(layer, "power", 1) in (1, 2, 4, 8)
        and getattr(layer, "padding_mode", "zeros") in ("zeros", "circular")
    )


def _problem_of_network(network: LipschitzClassifier) -> str:
    kind = _kind(network)
    known = kind in _known_networks
    fixed = (*FIXED, "body") if known else FIXED
    if own := [name for name in fixed if getattr(kind, name) is not getattr(LipschitzClassifier, name)]:
        return f"its class has a {own[0]} of its own, of which nothing is known"
    return "" if known else _break_of(network)


def _break_of(network: LipschitzClassifier) -> str:
    """Describe where a network is no chain of its layers, tested with three random images; empty if it is a chain."""
    with torch.no_grad():
        traced = trace(network, random_images(network, 3))
    if breaks := traced.breaks():
        return f"{breaks[0]} does not take what the layer before it gives"
    return "" if traced.ends_with(network.head) else "its head is not the last layer, once"


def _is_sharded(module: nn.Module) -> bool:
    """Return whether ``fully_shard`` gathers the weights of a module, by hooks and a class of its own."""
    sharding: Any = sys.modules.get("torch.distributed.fsdp")  # not imported here: that takes long
    return sharding is not None and isinstance(module, sharding.FSDPModule)


def _kind(module: nn.Module) -> type:
    return type(module).__bases__[1] if _is_sharded(module) else type(module)
