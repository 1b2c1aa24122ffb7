"""A network as a chain of layers: the input and output of each, recorded in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sll_zoo.layers import Recurrent
from sll_zoo.models.classifier import LipschitzClassifier


class Call(NamedTuple):
    """One execution of a layer."""

    name: str
    layer: nn.Module
    x: Tensor
    y: Tensor


class Trace(NamedTuple):
    """One execution of a network: the images, its layers in order, and its result."""

    images: Tensor
    calls: list[Call]
    y: Tensor

    def breaks(self) -> list[str]:
        """Return the names of the layers whose input is not the output of the layer before; empty for a chain.

        ``output`` stands for what the network returns.
        """
        given = [self.images, *(call.y for call in self.calls)]
        taken = [*((call.name, call.x) for call in self.calls), ("output", self.y)]
        return [name for (name, x), before in zip(taken, given, strict=True) if not _same(x, before)]

    def ends_with(self, layer: nn.Module) -> bool:
        """Return whether a layer is executed once, as the last one."""
        return [call.layer is layer for call in self.calls] == [False] * (len(self.calls) - 1) + [True]


def trace(model: LipschitzClassifier, images: Tensor) -> Trace:
    """Run a network and record the input and output of each layer.

    Args:
        model: The network; its layers are its children, and those of an ``nn.Sequential`` in place of it.
        images: (batch, channels, height, width), in the dtype of the model.
    """
    calls: list[Call] = []

    def record(name: str) -> Callable[..., None]:
        return lambda layer, args, kwargs, y: calls.append(
            Call(name, layer, [*args, *kwargs.values()][0].clone(), y.clone())  # copies: later layers may write in place
        )

    hooks = [module.register_forward_hook(record(name), with_kwargs=True) for name, module in _layers(model)]
    try:
        y = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return Trace(images, calls, y)


@torch.no_grad()
def parts(call: Call) -> list[Call]:
    """Return the layers that a layer consists of: those of a recurrent layer's cell, for one step of zeros; otherwise itself."""
    if not isinstance(call.layer, Recurrent):
        return [call]
    found, x = [], call.x.new_zeros(1, call.layer.inputs + call.layer.state)
    for place, layer in enumerate(call.layer.cell):
        y = layer(x)
        found.append(Call(f"{call.name}.cell.{place}", layer, x, y))
        x = y
    return found


def random_images(model: LipschitzClassifier, count: int) -> Tensor:
    """Return images (count, channels, height, width) in [0, 1], always the same, in the dtype and on the device of a network."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, *model.config.input_shape, dtype=torch.float64, generator=generator).to(model.center.mean)


def _layers(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield name and module of each layer in a container and in the ``nn.Sequential``s in it, but not of parts of layers."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential):
            yield from _layers(child, f"{prefix}{name}.")
        else:
            yield prefix + name, child


def _same(x: Tensor, y: Tensor) -> bool:
    """Return whether two tensors hold the same numbers in the same order, whatever their shapes; NaN equals NaN."""
    return x.numel() == y.numel() and torch.allclose(x.flatten(), y.flatten(), rtol=0, atol=0, equal_nan=True)
