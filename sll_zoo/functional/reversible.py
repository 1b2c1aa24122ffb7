"""Residual layers one after the other, in place and in little memory; the formula is in :mod:`~sll_zoo.functional.residual`.

A layer's input is its output plus what the layer took away, and that is known from the hidden units. So only the hidden units of
each layer are kept, and the inputs are found again, last layer first, when derivatives are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from sll_zoo.functional.convolution import PaddingMode, same_conv2d, same_conv2d_adjoint
from sll_zoo.functional.products import derivatives_are_taken_in_reverse, linear
from sll_zoo.functional.residual import residual

# What is taken away is computed for so many bytes of images at a time: larger pieces of memory a CPU gets anew, page by page.
PART = 2**24


class Layer(NamedTuple):
    """V, b and 2/T of one layer: (inner, features) or (inner, channels, k, k), (inner,) or None, and (inner,)."""

    weight: Tensor
    bias: Tensor | None
    step: Tensor


def residuals(
    x: Float[Tensor, "batch features *space"],
    layers: Sequence[Layer],
    activation: str = "relu",
    padding_mode: PaddingMode = "zeros",
) -> Float[Tensor, "batch features *space"]:
    """Return what ``layers`` make of ``x``, the first layer first.

    Args:
        x: (batch, features), or (batch, channels, height, width).
        layers: All dense or all convolutional, at least one.
        activation: σ. With another than relu, under autocast, in ``torch.compile``, and where derivatives are taken forward, it
            is the formula that is executed.
        padding_mode: Of the convolutions.
    """
    tensors = [tensor for weight, bias, step in layers for tensor in (weight, bias, step.to(weight.dtype))]
    if activation == "relu" and _is_plain(x, tensors):
        y: Tensor = _ReluResiduals.apply(padding_mode, x, *tensors)
        return y
    for weight, bias, step in layers:
        x = residual(x, weight, bias, step, activation, padding_mode)
    return x


def _is_plain(x: Tensor, tensors: Sequence[Tensor | None]) -> bool:
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type):
        return False
    given = [tensor for tensor in tensors if tensor is not None]
    return derivatives_are_taken_in_reverse(x, *given) and all(tensor.dtype == x.dtype for tensor in given)


class _ReluResiduals(torch.autograd.Function):
    """A stack of relu layers with derivatives of our own; derivatives of these are taken through the formula."""

    @staticmethod
    def forward(ctx: Any, padding_mode: PaddingMode, x: Tensor, *tensors: Tensor | None) -> Tensor:
        y, hidden = x, []
        for weight, bias, step in _layers(tensors):
            operator = _Operator(weight, padding_mode)
            units = operator(y, bias).relu_()
            y = operator.add_adjoint(y, -_along(step, units) * units, in_place=y is not x)
            if any(ctx.needs_input_grad):
                hidden.append(units)
        ctx.padding_mode = padding_mode
        ctx.save_for_backward(x, y if len(hidden) > 1 else None, *tensors, *hidden)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, *saved = ctx.saved_tensors
        tensors, hidden = saved[: len(ctx.needs_input_grad) - 2], saved[len(ctx.needs_input_grad) - 2 :]
        if torch.is_grad_enabled():
            return None, *_derivatives_by_formula(ctx, [x, *tensors], grad)
        found: list[Tensor | None] = []
        of_tensors, last = any(ctx.needs_input_grad[2:]), len(hidden) - 1
        for index, (weight, bias, step) in reversed(list(enumerate(_layers(tensors)))):
            operator, units = _Operator(weight, ctx.padding_mode), hidden[index]
            along, by_step = _along(step, units), operator(grad)
            taken = along * units
            by_units = (along * by_step).neg_().masked_fill_(units == 0, 0)
            if of_tensors:
                y = operator.add_adjoint(y, taken, in_place=index < last) if index else x
                by_weight = operator.gradient(y, by_units).sub_(operator.gradient(grad, taken))
                found[:0] = [by_weight, None if bias is None else _over_batch(by_units), -_over_batch(by_step.mul_(units))]
            if index or ctx.needs_input_grad[1]:
                grad = operator.add_adjoint(grad, by_units, in_place=index < last)
        return None, grad if ctx.needs_input_grad[1] else None, *(found or [None] * len(tensors))


class _Operator(NamedTuple):
    """x ↦ V x, its adjoint, and how V moves it."""

    weight: Tensor
    padding_mode: PaddingMode

    def __call__(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        if self.weight.ndim == 2:
            return linear(x, self.weight, bias)
        return same_conv2d(x, self.weight, bias, self.padding_mode)

    def add_adjoint(self, y: Tensor, units: Tensor, *, in_place: bool) -> Tensor:
        """Return y + Vᵀ units, written over y or elsewhere."""
        result = y if in_place else torch.empty_like(y)
        images = max(1, PART // max(1, y[:1].nbytes)) if y.device.type == "cpu" else max(1, len(y))
        parts = (torch.split(tensor, images) for tensor in (y, units, result))
        for part, part_of_units, out in zip(*parts, strict=True):
            if self.weight.ndim == 2:
                torch.add(part, linear(part_of_units, self.weight.mT), out=out)
            else:
                torch.add(part, same_conv2d_adjoint(part_of_units, self.weight, self.padding_mode), out=out)
        return result

    def gradient(self, x: Tensor, units: Tensor) -> Tensor:
        """Return the derivative of ⟨units, V x⟩ by V."""
        if self.weight.ndim == 2:
            return linear(units.mT, x.mT)
        padding = self.weight.shape[-1] // 2
        if self.padding_mode == "circular":
            x, padding = F.pad(x, (padding,) * 4, mode="circular"), 0
        found: Tensor = conv2d_weight(x, self.weight.shape, units, padding=padding)  # type: ignore[no-untyped-call]  # of torch
        return found


def _layers(tensors: Sequence[Tensor | None]) -> Iterator[Layer]:
    return (Layer(*tensors[start : start + 3]) for start in range(0, len(tensors), 3))  # type: ignore[arg-type]


def _along(step: Tensor, units: Tensor) -> Tensor:
    return step.view(-1, *(1,) * (units.ndim - 2))


def _over_batch(units: Tensor) -> Tensor:
    return units.sum([axis for axis in range(units.ndim) if axis != 1])


def _derivatives_by_formula(ctx: Any, inputs: Sequence[Any], grad: Tensor) -> list[Tensor | None]:
    y, *tensors = inputs
    for layer in _layers(tensors):
        y = residual(y, *layer, "relu", ctx.padding_mode)
    needed = ctx.needs_input_grad[1:]
    wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
    return [next(found) if need else None for need in needed]
