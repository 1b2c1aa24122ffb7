"""A network as the chain of its layers: what each took and gave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sll_zoo.models.classifier import LipschitzClassifier


class Call(NamedTuple):
    """One execution of a layer."""

    name: str
    layer: nn.Module
    x: Tensor
    y: Tensor


def trace(model: LipschitzClassifier, images: Tensor) -> tuple[list[Call], Tensor]:
    """Return what each layer took and gave, in order of execution, and what the network returned.

    Args:
        model: Its layers are the modules that are no ``nn.Sequential``.
        images: (batch, channels, height, width), in the dtype of the model.
    """
    calls: list[Call] = []

    def record(name: str) -> Callable[..., None]:
        return lambda layer, args, kwargs, y: calls.append(
            Call(name, layer, [*args, *kwargs.values()][0].clone(), y.clone())  # later layers may write in place
        )

    hooks = [module.register_forward_hook(record(name), with_kwargs=True) for name, module in _layers(model)]
    try:
        y = model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return calls, y


def _layers(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers under a container, and nothing of what is inside them."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential):
            yield from _layers(child, f"{prefix}{name}.")
        else:
            yield prefix + name, child


def first_break(calls: list[Call], images: Tensor, y: Tensor) -> str | None:
    """Return the name of the first layer that takes something else than the layer before it gave; None for a chain.

    ``output`` stands for what the network returns.
    """
    before = images
    for call in calls:
        if not same(call.x, before):
            return call.name
        before = call.y
    return None if same(before, y) else "output"


def same(x: Tensor, y: Tensor) -> bool:
    """Return whether two tensors hold the same numbers in the same order, whatever their shapes; NaN is like itself."""
    return x.numel() == y.numel() and torch.allclose(x.flatten(), y.flatten(), rtol=0, atol=0, equal_nan=True)
