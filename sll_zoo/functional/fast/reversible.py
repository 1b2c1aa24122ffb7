"""A stack of residual layers, computed in place and in little memory; the formula is in :mod:`~sll_zoo.functional.residual`.

A layer's input is its output plus the term that the layer subtracted, and this term follows from the hidden units. So only the
hidden units of each layer are kept, and backward computes the inputs again, last layer first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, repeat
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from sll_zoo.compat import graph_is_captured
from sll_zoo.functional.convolution import PaddingMode, same_conv2d, same_conv2d_adjoint
from sll_zoo.functional.fast.few_channels import FewChannels, has_few_channels
from sll_zoo.functional.fast.products import derivatives_are_taken_in_reverse, linear
from sll_zoo.functional.residual import residual

# Bytes of images that go through all convolutions at a time on a CPU: few enough to stay in its cache.
PART = 2**22


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
    """Return ``x`` after all ``layers``, applied in their order.

    Args:
        x: (batch, features), or (batch, channels, height, width).
        layers: All dense or all convolutional, at least one.
        activation: Name of σ. The plain formula is executed for any σ but relu, in ``torch.compile``, and in forward mode.
        padding_mode: Padding of the convolutions, ``zeros`` or ``circular``.

    Under autocast the products are computed in its dtype, and the values between layers keep the dtype of ``x``. Autocast does
    not affect float64, as everywhere in PyTorch.
    """
    tensors = [tensor for weight, bias, step in layers for tensor in (weight, bias, step.to(weight.dtype))]
    device = x.device.type
    lower = torch.is_autocast_enabled(device) and x.dtype != torch.float64
    dtype = torch.get_autocast_dtype(device) if lower else x.dtype
    if activation == "relu" and _is_plain(x, tensors, dtype):
        with torch.autocast(device, enabled=False):
            apply = _ReluResiduals.apply if torch.is_grad_enabled() else partial(_ReluResiduals.forward, None)
            y: Tensor = apply(padding_mode, dtype, x, *tensors)
        return y
    for weight, bias, step in layers:
        x = residual(x, weight, bias, step, activation, padding_mode)
    return x


def _is_plain(x: Tensor, tensors: Sequence[Tensor | None], dtype: torch.dtype) -> bool:
    if graph_is_captured() or not x.numel():
        return False
    weight, *_ = given = [tensor for tensor in tensors if tensor is not None]
    # On a GPU, values between layers may be in the half precision of autocast, and weights in float32.
    half = x.device.type == "cuda" and x.dtype == dtype and dtype in (torch.bfloat16, torch.float16)
    alike = {tensor.dtype for tensor in given} == {torch.float32 if half and weight.dtype == torch.float32 else x.dtype}
    return x.ndim == weight.ndim and alike and derivatives_are_taken_in_reverse(x, *given)


class _ReluResiduals(torch.autograd.Function):
    """A stack of relu layers with a hand-written backward; second derivatives go through the formula.

    Products are computed in ``dtype``; the values between layers keep the dtype of x.
    """

    @staticmethod
    def forward(ctx: Any, padding_mode: PaddingMode, dtype: torch.dtype, x: Tensor, *tensors: Tensor | None) -> Tensor:
        """Apply the layers; save nothing for backward if ``ctx`` is None."""
        layers, hidden = _operators(tensors, padding_mode, dtype), []
        x = x.contiguous() if any(layer.few for layer in layers) else x
        result = torch.empty_like(x)
        kept = ctx is not None and any(ctx.needs_input_grad)
        for part, out in zip(_parts(x), _parts(result), strict=True):
            y = part
            for layer in layers:
                units = layer.product(y, layer.bias).relu_()
                y = layer.add_adjoint(y, layer.stepped(units), -1, out)
                if kept:
                    hidden.append(units)
        if kept:
            ctx.padding_mode, ctx.dtype = padding_mode, dtype
            ctx.save_for_backward(x, result if len(layers) > 1 else x, *tensors, *hidden)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, *saved = ctx.saved_tensors
        tensors, hidden = saved[: len(ctx.needs_input_grad) - 3], saved[len(ctx.needs_input_grad) - 3 :]
        if torch.is_grad_enabled():
            return None, None, *_derivatives_by_formula(ctx, [x, *tensors], grad)
        layers, units = _operators(tensors, ctx.padding_mode, ctx.dtype), iter(hidden)
        sums: list[Tensor] = []
        grad_x, of_tensors = torch.empty_like(x) if ctx.needs_input_grad[2] else None, any(ctx.needs_input_grad[3:])
        with torch.autocast(x.device.type, enabled=False):
            for part in zip(_parts(x), _parts(y), _parts(grad), _parts(grad_x), strict=False):
                found = _derivatives(layers, list(islice(units, len(layers))), *part, of_tensors)
                sums = [total.add_(more) for total, more in zip(sums, found, strict=True)] if sums else found
        grad_tensors = (None if tensor is None else total for tensor, total in zip(tensors, sums, strict=True))
        return None, None, grad_x, *(grad_tensors if of_tensors else [None] * len(tensors))


def _parts(images: Tensor | None) -> Iterable[Any]:
    """Split a batch into parts that fit the cache; for None, return endless Nones, so that ``zip`` works."""
    if images is None:
        return repeat(None)
    # Dense layers take the whole batch: their weight is larger than a part, and would be read again for each part.
    whole = images.device.type != "cpu" or images.ndim == 2
    return torch.split(images, max(1, len(images) if whole else PART // max(1, images[:1].nbytes)))


def _derivatives(
    layers: Sequence[_Operator],
    hidden: Sequence[Tensor],
    x: Tensor,
    y: Tensor,
    grad: Tensor,
    grad_x: Tensor | None,
    of_tensors: bool,
) -> list[Tensor]:
    """Write the derivative by x into ``grad_x``; return those by weight, bias and step of each layer, the first layer first."""
    found: list[Tensor] = []
    inputs, grads = None, grad_x
    for index, (layer, units) in reversed(list(enumerate(zip(layers, hidden, strict=True)))):
        grad_taken = layer.product(grad)
        grad_units = torch.ops.aten.threshold_backward(layer.stepped(grad_taken), units, 0)  # minus the derivative
        if of_tensors:
            taken = layer.stepped(units)
            # The layer's input is computed again from its output.
            y = inputs = layer.add_adjoint(y, taken, 1, inputs) if index else x
            grad_step = _over_batch(grad_taken.to(layer.step.dtype).mul_(units), layer.step.dtype)
            grad_bias = _over_batch(grad_units, layer.step.dtype)
            found[:0] = [layer.negative_gradient(y, grad_units, grad, taken), -grad_bias, -grad_step]
        if index or grad_x is not None:
            grad = grads = layer.add_adjoint(grad, grad_units, -1, grads)
    return found


class _Operator(NamedTuple):
    """V, b and 2/T of a layer, V and b in the dtype of its products."""

    weight: Tensor
    bias: Tensor | None
    step: Tensor
    padding_mode: PaddingMode
    few: FewChannels | None

    def product(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return V x + b."""
        x = x.to(self.weight.dtype)
        if self.weight.ndim == 2:
            return linear(x, self.weight, bias)
        if self.few:
            return self.few.product(x) if bias is None else self.few.product(x).add_(bias[:, None, None])
        return same_conv2d(x, self.weight, bias, self.padding_mode)

    def stepped(self, units: Tensor) -> Tensor:
        """Return step ⊙ units."""
        step = self.step.view(-1, *(1,) * (units.ndim - 2))
        if units.device.type == "cpu":  # a full copy: to broadcast over channels that are last in memory is slow
            step = torch.empty_like(units[:1], dtype=step.dtype).copy_(step)
        return (units * step).to(units.dtype)

    def add_adjoint(self, y: Tensor, units: Tensor, sign: int, out: Tensor | None) -> Tensor:
        """Return y ± Vᵀ units, written over ``out`` if there is one."""
        if self.few:
            return self.few.add_adjoint(y, units, sign, out)
        if self.weight.ndim == 2:
            added = linear(units, self.weight.mT)
        else:
            added = same_conv2d_adjoint(units, self.weight, self.padding_mode)
        return torch.add(y, added.to(y.dtype), alpha=sign, out=out)

    def negative_gradient(self, x: Tensor, units: Tensor, grad: Tensor, taken: Tensor) -> Tensor:
        """Return minus the derivative of ⟨units, V x⟩ + ⟨taken, V grad⟩ by V, in the type of the step."""
        dtype, x, grad = self.step.dtype, x.to(self.weight.dtype), grad.to(self.weight.dtype)
        if self.weight.ndim == 2:
            return linear(torch.cat([units, taken]).neg_().mT, torch.cat([x, grad]).mT).to(dtype)
        return -(self._by_kernel(x, units, dtype) + self._by_kernel(grad, taken, dtype))

    def _by_kernel(self, x: Tensor, units: Tensor, dtype: torch.dtype) -> Tensor:
        if self.few:
            return self.few.by_kernel(x, units).to(dtype)
        padding = self.weight.shape[-1] // 2
        if self.padding_mode == "circular":
            x, padding = F.pad(x, (padding,) * 4, mode="circular"), 0
        found: Tensor = conv2d_weight(x, self.weight.shape, units, padding=padding)  # type: ignore[no-untyped-call]  # of torch
        return found.to(dtype)


def _operators(tensors: Sequence[Tensor | None], padding_mode: PaddingMode, dtype: torch.dtype) -> list[_Operator]:
    return [_operator(layer, padding_mode, dtype) for layer in _layers(tensors)]


def _operator(layer: Layer, padding_mode: PaddingMode, dtype: torch.dtype) -> _Operator:
    weight, bias = layer.weight.to(dtype), None if layer.bias is None else layer.bias.to(dtype)
    few = weight.ndim == 4 and padding_mode == "zeros" and has_few_channels(weight)
    return _Operator(weight, bias, layer.step, padding_mode, FewChannels(weight) if few else None)


def _layers(tensors: Sequence[Tensor | None]) -> Iterator[Layer]:
    return (Layer(*tensors[start : start + 3]) for start in range(0, len(tensors), 3))  # type: ignore[arg-type]


def _over_batch(units: Tensor, dtype: torch.dtype) -> Tensor:
    return units.sum([axis for axis in range(units.ndim) if axis != 1], dtype=dtype)


def _derivatives_by_formula(ctx: Any, inputs: Sequence[Any], grad: Tensor) -> list[Tensor | None]:
    x, *tensors = inputs
    y = x.to(tensors[0].dtype)
    for layer in _layers(tensors):
        y = residual(y, *layer, "relu", ctx.padding_mode)
    y = y.to(x.dtype)
    needed = ctx.needs_input_grad[2:]
    wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
    found = iter(torch.autograd.grad(y, wanted, grad, create_graph=True))
    return [next(found) if need else None for need in needed]
