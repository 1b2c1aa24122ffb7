"""Residual layers one after the other, in place and in little memory; the formula is in :mod:`~sll_zoo.functional.residual`.

A layer's input is its output plus what the layer took away, and that is known from the hidden units. So only the hidden units of
each layer are kept, and the inputs are found again, last layer first, when derivatives are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
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
        activation: σ. With another than relu, in ``torch.compile``, and where derivatives are taken forward, it is the formula
            that is executed.
        padding_mode: Of the convolutions.

    Under autocast the products are taken in its type, and what goes from layer to layer stays as precise as ``x``. It does not
    touch float64, as everywhere in PyTorch.
    """
    tensors = [tensor for weight, bias, step in layers for tensor in (weight, bias, step.to(weight.dtype))]
    if activation == "relu" and _is_plain(x, tensors):
        device = x.device.type
        lower = torch.is_autocast_enabled(device) and x.dtype != torch.float64
        dtype = torch.get_autocast_dtype(device) if lower else x.dtype
        with torch.autocast(device, enabled=False):
            apply = _ReluResiduals.apply if torch.is_grad_enabled() else partial(_ReluResiduals.forward, None)
            y: Tensor = apply(padding_mode, dtype, x, *tensors)
        return y
    for weight, bias, step in layers:
        x = residual(x, weight, bias, step, activation, padding_mode)
    return x


def _is_plain(x: Tensor, tensors: Sequence[Tensor | None]) -> bool:
    if torch.compiler.is_compiling():
        return False
    given = [tensor for tensor in tensors if tensor is not None]
    return derivatives_are_taken_in_reverse(x, *given) and all(tensor.dtype == x.dtype for tensor in given)


class _ReluResiduals(torch.autograd.Function):
    """A stack of relu layers with derivatives of our own; derivatives of these are taken through the formula.

    A layer is x + Mᵀ relu(V x + b) with M = −step ⊙ V. Products are taken in ``dtype``; x, and what is added to it, keep theirs.
    """

    @staticmethod
    def forward(ctx: Any, padding_mode: PaddingMode, dtype: torch.dtype, x: Tensor, *tensors: Tensor | None) -> Tensor:
        """Apply the layers; keep nothing where ``ctx`` is None."""
        y, hidden, kept = x, [], ctx is not None and any(ctx.needs_input_grad)
        for layer in _layers(tensors):
            v, m = _operators(layer, padding_mode, dtype)
            units = v(y, layer.bias).relu_()
            y = m.add_adjoint(y, units, in_place=y is not x)
            if kept:
                hidden.append(units)
        if kept:
            ctx.padding_mode, ctx.dtype = padding_mode, dtype
            ctx.save_for_backward(x, y if len(hidden) > 1 else None, *tensors, *hidden)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, *saved = ctx.saved_tensors
        tensors, hidden = saved[: len(ctx.needs_input_grad) - 3], saved[len(ctx.needs_input_grad) - 3 :]
        if torch.is_grad_enabled():
            return None, None, *_derivatives_by_formula(ctx, [x, *tensors], grad)
        found: list[Tensor | None] = []
        of_tensors, last = any(ctx.needs_input_grad[3:]), len(hidden) - 1
        for index, layer in reversed(list(enumerate(_layers(tensors)))):
            (v, m), units = _operators(layer, ctx.padding_mode, ctx.dtype), hidden[index]
            by_units = torch.ops.aten.threshold_backward(m(grad), units, 0)
            if of_tensors:
                y = m.add_adjoint(y, units, -1, in_place=index < last) if index else x
                by_m = v.gradient(grad, units)
                by_weight = v.gradient(y, by_units).addcmul_(_along(layer.step, by_m), by_m, value=-1)
                by_step = -(layer.weight * by_m).flatten(1).sum(1)
                found[:0] = [by_weight, None if layer.bias is None else _over_batch(by_units, grad.dtype), by_step]
            if index or ctx.needs_input_grad[2]:
                grad = v.add_adjoint(grad, by_units, in_place=index < last)
        return None, None, grad if ctx.needs_input_grad[2] else None, *(found or [None] * len(tensors))


def _operators(layer: Layer, padding_mode: PaddingMode, dtype: torch.dtype) -> tuple[_Operator, _Operator]:
    """Return V and M."""
    m = -_along(layer.step, layer.weight) * layer.weight
    return _Operator(layer.weight.to(dtype), padding_mode), _Operator(m.to(dtype), padding_mode)


class _Operator(NamedTuple):
    """x ↦ V x, its adjoint, and the derivative by V, in the type of V."""

    weight: Tensor
    padding_mode: PaddingMode

    def __call__(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        x, bias = x.to(self.weight.dtype), None if bias is None else bias.to(self.weight.dtype)
        if self.weight.ndim == 2:
            return linear(x, self.weight, bias)
        return same_conv2d(x, self.weight, bias, self.padding_mode)

    def add_adjoint(self, y: Tensor, units: Tensor, sign: int = 1, *, in_place: bool) -> Tensor:
        """Return y ± Vᵀ units, written over y or elsewhere."""
        result = y if in_place else torch.empty_like(y)
        images = max(1, PART // max(1, y[:1].nbytes)) if y.device.type == "cpu" else max(1, len(y))
        parts = (torch.split(tensor, images) for tensor in (y, units, result))
        for part, part_of_units, out in zip(*parts, strict=True):
            if self.weight.ndim == 2:
                added = linear(part_of_units, self.weight.mT)
            else:
                added = same_conv2d_adjoint(part_of_units, self.weight, self.padding_mode)
            torch.add(part, added.to(y.dtype), alpha=sign, out=out)
        return result

    def gradient(self, x: Tensor, units: Tensor) -> Tensor:
        """Return the derivative of ⟨units, V x⟩ by V, in the type of ``x``."""
        dtype, x = x.dtype, x.to(self.weight.dtype)
        if self.weight.ndim == 2:
            return linear(units.mT, x.mT).to(dtype)
        padding = self.weight.shape[-1] // 2
        if self.padding_mode == "circular":
            x, padding = F.pad(x, (padding,) * 4, mode="circular"), 0
        found: Tensor = conv2d_weight(x, self.weight.shape, units, padding=padding)  # type: ignore[no-untyped-call]  # of torch
        return found.to(dtype)


def _layers(tensors: Sequence[Tensor | None]) -> Iterator[Layer]:
    return (Layer(*tensors[start : start + 3]) for start in range(0, len(tensors), 3))  # type: ignore[arg-type]


def _along(step: Tensor, weight: Tensor) -> Tensor:
    return step.view(-1, *(1,) * (weight.ndim - 1))


def _over_batch(units: Tensor, dtype: torch.dtype) -> Tensor:
    return units.sum([axis for axis in range(units.ndim) if axis != 1], dtype=dtype)


def _derivatives_by_formula(ctx: Any, inputs: Sequence[Any], grad: Tensor) -> list[Tensor | None]:
    y, *tensors = inputs
    for layer in _layers(tensors):
        y = residual(y, *layer, "relu", ctx.padding_mode)
    needed = ctx.needs_input_grad[2:]
    wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
    return [next(found) if need else None for need in needed]
