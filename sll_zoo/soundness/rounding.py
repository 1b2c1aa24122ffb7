"""How far a layer's output, as it is computed, may be from the exact one: one bound for each kind of layer.

The derivations are in the README beside this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from sll_zoo import layers as zoo_layers
from sll_zoo.errors import ConfigError
from sll_zoo.layers import FoldedLinearForm, FoldedResidual
from sll_zoo.soundness.arithmetic import Arithmetic
from sll_zoo.soundness.contraction import absolute

# Inputs of a layer are far below this norm: images have entries in [0, 1], and layers are 1-Lipschitz.
LARGEST_NORM = 1e6


class Rounding(NamedTuple):
    """‖computed − exact‖ ≤ slope · ‖input‖ + offset, in L2, for one image."""

    slope: float
    offset: float

    def at(self, norm: Tensor) -> Tensor:
        """Return the bound for inputs of a norm, (batch,)."""
        return self.slope * norm + self.offset


NOTHING = Rounding(0.0, 0.0)
# Those that move, drop or choose numbers, and make none.
EXACT = (
    nn.Identity,
    nn.PixelUnshuffle,
    nn.AdaptiveMaxPool2d,
    zoo_layers.PadChannels,
    zoo_layers.TruncateChannels,
    zoo_layers.MaxMin,
    zoo_layers.Absolute,
)


def rounding_of(layer: nn.Module, x: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Return the bound for a folded layer.

    Args:
        layer: As it is executed.
        x: An input, (1, ...), for its shape.
        arithmetic: In which it is executed.

    Raises:
        ConfigError: A layer of which no bound is known.
    """
    if isinstance(layer, EXACT):
        return NOTHING
    if bound := BOUNDS.get(type(layer)):
        return bound(layer, x, arithmetic)
    raise ConfigError(
        f"the rounding of a {type(layer).__name__} is not bounded", "certify without sound=True, or use another family"
    )


def rounding_of_logit(head: FoldedLinearForm, arithmetic: Arithmetic) -> Rounding:
    """Return the bound for each logit ⟨w̃ᵢ, x⟩ + bᵢ by itself."""
    gamma, terms = arithmetic.gamma(head.weight.shape[1] + 2), head.weight.shape[1]
    bias = 0.0 if head.bias is None else float(head.bias.double().abs().max())
    longest = 1.001 * float(head.weight.double().norm(dim=1).max())
    return _safely(Rounding(gamma * longest, gamma * bias + terms * arithmetic.tiny), LARGEST_NORM * terms + bias, arithmetic)


def _residual(layer: FoldedResidual, x: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Bound x − Vᵀ (s ⊙ σ(V x + b))."""
    if layer.activation != "relu":
        raise ConfigError(f"the rounding of {layer.activation} is not bounded", "use relu, or certify without sound=True")
    weight, step = layer.weight.double(), layer.step.double()
    bias = torch.zeros_like(step) if layer.bias is None else layer.bias.double()
    pixels, features = x[0, 0].numel(), x[0].numel()
    units = len(step) * pixels
    into, back = weight[0].numel(), len(weight) * weight[0, 0].numel()
    size = norm_upper_bound(absolute(weight * step.sqrt().view(-1, *(1,) * (weight.ndim - 1))))  # ‖ |S^{1/2} V| ‖
    offset = math.sqrt(pixels * float((step * bias.square()).sum()))  # ‖S^{1/2} b‖ over all pixels
    # S^{1/2} (V x + b): the error of its sums; then its size, the norm of S^{1/2} V being at most √2.
    gamma = arithmetic.gamma(into + 2)
    underflow = into * arithmetic.tiny * math.sqrt(pixels * float(step.sum()))
    first = Rounding(gamma * size, gamma * offset + underflow)
    inner = Rounding(math.sqrt(2) + first.slope, offset + first.offset)
    # Vᵀ (s ⊙ σ): the product with s and the sums; and what underflows on the way.
    gamma = arithmetic.gamma(back + 4)
    plain = norm_upper_bound(absolute(weight))
    underflow = arithmetic.tiny * (plain * math.sqrt(units) + back * math.sqrt(features))
    second = Rounding(gamma * size * inner.slope, gamma * size * inner.offset + underflow)
    slope, rest = (math.sqrt(2) * one + two for one, two in zip(first, second, strict=True))
    # The subtraction: one unit of the size of what comes out.
    unit = 2 * arithmetic.unit
    total = Rounding(slope + unit * (3 + slope), rest + unit * (2 * offset + rest))
    largest = plain * LARGEST_NORM + float(bias.abs().max())
    return _safely(total, largest * max(1.0, float(step.max())) * max(1.0, plain), arithmetic)


def _linear(layer: FoldedLinearForm, x: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Bound W̃ x + b."""
    weight = layer.weight.double()
    pixels = x[0, 0].numel() if weight.ndim == 4 else 1
    bias = torch.zeros(()) if layer.bias is None else layer.bias.double()
    terms = weight[0].numel()
    gamma = arithmetic.gamma(terms + 2)
    underflow = terms * arithmetic.tiny * math.sqrt(pixels * len(weight))
    total = Rounding(gamma * norm_upper_bound(absolute(weight)), gamma * math.sqrt(pixels) * float(bias.norm()) + underflow)
    return _safely(total, LARGEST_NORM * terms + float(bias.abs().max()), arithmetic)


def _pooling(layer: zoo_layers.NormOneAvgPool2d, _: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Bound a sum of k² entries divided by k."""
    edge = cast("int", layer.kernel_size)
    return Rounding(arithmetic.gamma(edge**2 + 1), arithmetic.tiny * edge**2)


def _householder(_: nn.Module, x: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Bound p − 2 min(⟨p, v⟩, 0) v for pairs p: some ten operations, and a sine and a cosine that are off by two units each."""
    return Rounding(32 * arithmetic.unit, 8 * arithmetic.tiny * math.sqrt(x[0].numel()))


BOUNDS: dict[type, Callable[..., Rounding]] = {
    FoldedResidual: _residual,
    FoldedLinearForm: _linear,
    zoo_layers.NormOneAvgPool2d: _pooling,
    zoo_layers.Householder: _householder,
}


def norm_upper_bound(nonnegative: Tensor) -> float:
    """Return a number not below the norm of a nonnegative matrix, in float64: ‖M‖² ≤ ‖M‖₁ ‖M‖_∞ and ‖M‖ ≤ ‖M‖_F."""
    rows, columns = nonnegative.sum(1).max(), nonnegative.sum(0).max()
    return 1.001 * float(torch.minimum(nonnegative.norm(), (rows * columns).sqrt()))


def _safely(rounding: Rounding, largest: float, arithmetic: Arithmetic) -> Rounding:
    """Return the bound, infinite where numbers up to ``largest`` might overflow."""
    safe = all(map(math.isfinite, rounding)) and largest < 1e-3 * arithmetic.largest
    return rounding if safe else Rounding(0.0, float("inf"))
