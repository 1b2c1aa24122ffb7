"""What layers derive from their weights, T or a constrained weight, and how it is derived once for several batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sll_zoo.compat import graph_is_captured


class DerivedValues:
    """The values that one layer derives from its weights, kept while these stay: in an evaluation, or for one optimizer step.

    In a training, the first of the batches whose gradients a step adds up computes a value. Every batch but the last takes it as
    a constant, which collects their gradients; the backward pass of the last one adds these to its own, and goes on to the
    weights. So weights get their whole gradient in the last backward pass, where processes exchange gradients.

    A copy or a pickle of a layer has none, since its weights may become others.

    Attributes:
        training: Whether it serves a training, or else an evaluation without gradients.
        last: Whether the batch at hand is the last one of its step.
    """

    def __init__(self, training: bool = True) -> None:
        self.training = training
        self.last = True
        self._values: dict[tuple[Any, ...], tuple[Tensor, Tensor]] = {}

    def __call__(self, compute: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """Return ``compute(*arguments)``, computed once, or once a step."""
        key = (compute.__name__, *arguments)
        if key not in self._values:
            value = compute(*arguments)
            constant = value.detach().requires_grad_()
            self._values[key] = value, constant
            if value.requires_grad:  # not where the weights are frozen
                add = partial(_plus_gradient, constant)
                value.register_hook(add)  # type: ignore[no-untyped-call]  # of torch
        value, constant = self._values[key]
        return value if self.last else constant

    def begin(self, last: bool) -> None:
        """Begin a batch; after a last one, values are computed again."""
        if self.last:
            self._values.clear()
        self.last = last

    def __reduce__(self) -> Any:
        """Return the recipe of a copy or a pickle: None."""
        return type(None), ()


def _plus_gradient(constant: Tensor, grad: Tensor) -> Tensor:
    return grad if constant.grad is None else grad + constant.grad


class DerivingModule(nn.Module):
    """A layer that derives a tensor from its weights at every forward."""

    _once: DerivedValues | None = None

    def derived(self, compute: Callable[..., Tensor], *arguments: Any) -> Tensor:
        """Return ``compute(*arguments)``, which depends on weights alone: once by :func:`begin_batch` or :func:`derived_once`."""
        once = self._once
        if once is None or not (once.training == self.training == torch.is_grad_enabled()) or graph_is_captured():
            return compute(*arguments)
        return once(compute, *arguments)


def begin_batch(network: nn.Module, last: bool) -> None:
    """Let the layers of a network derive values once for all batches up to the ``last`` one of an optimizer step.

    Call it before each batch of a training. Weights must not change between the batches of a step, and the last one must have a
    backward pass: it brings the gradients of all to the weights.

    Args:
        network: In train mode.
        last: Whether the optimizer steps after this batch.
    """
    for layer in network.modules():
        if isinstance(layer, DerivingModule) and (layer._once or not last):
            layer._once = layer._once or DerivedValues()
            layer._once.begin(last)


@contextmanager
def derived_once(layers: Iterable[DerivingModule]) -> Iterator[None]:
    """Let layers in eval mode derive values once, while weights stay and gradients are off, and keep these for so long."""
    layers = list(layers)
    for layer in layers:
        layer._once = DerivedValues(training=False)
    try:
        with torch.no_grad():
            yield
    finally:
        for layer in layers:
            layer._once = None


def end_batches(network: nn.Module) -> None:
    """Let the layers of a network derive their values at every forward again."""
    for layer in network.modules():
        if isinstance(layer, DerivingModule):
            layer._once = None
