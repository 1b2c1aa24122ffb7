"""Bounds of the distance of a layer's computed output from the exact one, for each kind of layer.

The derivations are in the README beside this file.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from sll_zoo import layers as zoo_layers
from sll_zoo.certificates.soundness.arithmetic import Arithmetic
from sll_zoo.certificates.soundness.contraction import absolute
from sll_zoo.errors import ConfigError
from sll_zoo.layers import FoldedCircular, FoldedLinearForm, FoldedResidual, FoldedSandwich, Recurrent

# Inputs of a layer are far below this norm: images have entries in [0, 1], and layers are 1-Lipschitz.
LARGEST_NORM = 1e6
# A Fourier transform of N numbers is taken to be off by at most this many units for each doubling of N: textbook bounds are below
# ten (Higham 2002, chapter 24, for powers of 2), and other lengths cost more.
FOURIER = 64


class Rounding(NamedTuple):
    """‖computed − exact‖ ≤ slope · ‖input‖ + offset for one image, in the norm of the network."""

    slope: float
    offset: float

    def at(self, norm: Tensor) -> Tensor:
        """Return the bound for inputs of norm ``norm``, (batch,)."""
        return self.slope * norm + self.offset


NOTHING = Rounding(0.0, 0.0)
# Layers without rounding: they only move, drop or choose numbers.
EXACT = (
    nn.Identity,
    nn.Flatten,
    nn.PixelUnshuffle,
    nn.AdaptiveMaxPool2d,
    zoo_layers.PadChannels,
    zoo_layers.PixelUnshuffle,
    zoo_layers.TruncateChannels,
    zoo_layers.WindowPartition,
    zoo_layers.CyclicShift,
    zoo_layers.WindowReverse,
    zoo_layers.MaxMin,
    zoo_layers.Absolute,
)


def rounding_of(layer: nn.Module, x: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Return the rounding bound of a folded layer.

    Args:
        layer: The layer, as it is executed.
        x: An input, (1, ...), of which only the shape matters.
        arithmetic: Arithmetic in which the layer is executed.

    Raises:
        ConfigError: A layer of which no bound is known.
    """
    if type(layer) in EXACT:
        return NOTHING
    if bound := BOUNDS.get(type(layer)):
        return bound(layer, x, arithmetic)
    raise ConfigError(
        f"the rounding of a {type(layer).__name__} is not bounded", "certify without sound=True, or use another family"
    )


def rounding_of_logit(head: nn.Module, x: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Return the rounding bound of a single logit, valid for each: of ⟨w̃ᵢ, x⟩ + bᵢ in L2, of sorted distances in L∞."""
    if not isinstance(head, FoldedLinearForm):
        return rounding_of(head, x, arithmetic)  # in L∞ the error of all outputs is that of the worst
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
    # First product, S^{1/2} (V x + b): ``first`` is its error, ``inner`` its computed size, since ‖S^{1/2} V‖ ≤ √2.
    gamma = arithmetic.gamma(into + 2)
    underflow = into * arithmetic.tiny * math.sqrt(pixels * float(step.sum()))
    first = Rounding(gamma * size, gamma * offset + underflow)
    inner = Rounding(math.sqrt(2) + first.slope, offset + first.offset)
    # Second product, Vᵀ (s ⊙ σ) or (s ⊙ V)ᵀ σ: rounding of the product with s and of the sums, and underflow, in either order.
    gamma = arithmetic.gamma(back + 4)
    plain = norm_upper_bound(absolute(weight))
    largest = plain * LARGEST_NORM + float(bias.abs().max())
    underflow = arithmetic.tiny * (plain * math.sqrt(units) + back * math.sqrt(features) * (1 + largest))
    second = Rounding(gamma * size * inner.slope, gamma * size * inner.offset + underflow)
    slope, rest = (math.sqrt(2) * one + two for one, two in zip(first, second, strict=True))
    # Subtraction from x: one unit of the size of its result.
    unit = 2 * arithmetic.unit
    total = Rounding(slope + unit * (3 + slope), rest + unit * (2 * offset + rest))
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


def _matrices(matrices: Tensor, x: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Bound the product of some of a layer's matrices with inputs of the image size of ``x``."""
    rows, terms = matrices.shape[-2:]
    pixels = x[0, 0].numel()
    if not matrices.is_complex():
        slope = arithmetic.gamma(terms + 2) * norm_upper_bound(matrices.double().abs())
        return Rounding(slope, terms * arithmetic.tiny * math.sqrt(rows * pixels))
    size = max(norm_upper_bound(matrix) for matrix in matrices.abs().double().flatten(0, 1))
    fourier = FOURIER * arithmetic.unit * math.log2(2 * pixels)
    # Errors of transform, products and inverse transform multiply as (1 + each) − 1; the matrices have norm at most 1.
    slope = (1 + fourier) * (1 + arithmetic.gamma(4 * terms + 8) * size) * (1 + fourier) - 1
    return Rounding(1.001 * slope + arithmetic.unit, 16 * terms * pixels * arithmetic.tiny * math.sqrt(terms * pixels))


def _circular(layer: FoldedCircular, x: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Bound Q x + b."""
    slope, underflow = _matrices(layer.matrices(), x, arithmetic)
    bias = 0.0 if layer.bias is None else math.sqrt(x[0, 0].numel()) * float(layer.bias.double().norm())
    unit = 2 * arithmetic.unit
    return _safely(Rounding(slope + unit * (1 + slope), underflow + unit * (bias + underflow)), LARGEST_NORM + bias, arithmetic)


def _sandwich(layer: FoldedSandwich, x: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Bound √2 Aᵀ Ψ relu(√2 Ψ⁻¹ B x + b)."""
    out, pixels = len(layer.psi), x[0, 0].numel()
    psi, root, unit = layer.psi.double(), math.sqrt(2), 8 * arithmetic.unit
    bias = torch.zeros_like(psi) if layer.bias is None else layer.bias.double()
    offset = math.sqrt(pixels) * float((psi * bias).norm())  # ‖Ψ b‖ over all pixels
    factors = layer.matrices()
    first = _matrices(factors[..., out:, :].mH, x, arithmetic)
    # Hidden vector, Ψ relu(√2 Ψ⁻¹ z + b) with z = B x: √2 times the error of z, and five operations.
    spread = float(psi.max() / psi.min()) + float(psi.max()) + 1
    underflow = 8 * arithmetic.tiny * spread * math.sqrt(out * pixels)
    hidden = Rounding(root * first.slope + unit * root * (1 + first.slope), root * first.offset + unit * offset + underflow)
    whole = Rounding(root + hidden.slope, offset + hidden.offset)  # computed norm of the hidden vector
    second = _matrices(factors[..., :out, :], x.new_zeros(1, out, *x.shape[2:]), arithmetic)
    slope, rest = (root * (one + (second.slope + unit) * two) for one, two in zip(hidden, whole, strict=True))
    total = Rounding(1.001 * slope, 1.001 * rest + root * second.offset)
    return _safely(total, (LARGEST_NORM + offset) * spread, arithmetic)


def _recurrent(layer: Recurrent, x: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Bound the last state: the errors of all layers of all steps add.

    The exact input of a layer is a 1-Lipschitz function of the sequence: its norm is at most ‖x‖ above that for a sequence of
    zeros, which is measured here in float64.
    """
    cell = copy.deepcopy(layer.cell).double()
    z = x.new_zeros(1, layer.state + layer.inputs, dtype=torch.float64)
    roundings = [rounding_of(part, z, arithmetic) for part in layer.cell]
    error, norms = NOTHING, [0.0]
    for _ in range(x.shape[2]):
        for part, (slope, offset) in zip(cell, roundings, strict=True):
            norms.append(1.001 * float(z.norm()))
            slopes = error.slope + slope * (1 + error.slope)
            error = Rounding(slopes, error.offset + slope * (norms[-1] + error.offset) + offset)
            z = part(z)
        z = torch.cat([z[:, -layer.state :], z.new_zeros(1, layer.inputs)], 1)
    largest = LARGEST_NORM if max(norms) < LARGEST_NORM / 2 else math.inf
    return _safely(Rounding(1.001 * error.slope, 1.001 * error.offset), largest, arithmetic)


def _pooling(layer: zoo_layers.NormOneAvgPool2d, _: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Bound a sum of k² entries divided by k."""
    edge = cast("int", layer.kernel_size)
    return Rounding(arithmetic.gamma(edge**2 + 1), arithmetic.tiny * edge**2)


def _householder(_: nn.Module, x: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Bound p − 2 min(⟨p, v⟩, 0) v for pairs p: some ten operations, and a sine and a cosine that are off by two units each."""
    return Rounding(32 * arithmetic.unit, 8 * arithmetic.tiny * math.sqrt(x[0].numel()))


def _sorted(layer: zoo_layers.SortLinear, x: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Bound Σᵢ wᵢ sort(|x + b_k|)ᵢ in L∞: a rounding of each distance, which sorting does not enlarge, and a sum of products."""
    largest = float(layer.weight.detach().double().abs().max())
    terms = len(layer.order_weights())
    gamma = arithmetic.gamma(terms + 2)
    total = Rounding(gamma, gamma * largest + (terms + 2) * arithmetic.tiny)
    return _safely(total, (LARGEST_NORM + largest) * (x.shape[1] + 1), arithmetic)


def _mean_shift(layer: zoo_layers.MeanShift, _: Tensor, arithmetic: Arithmetic) -> Rounding:
    """Bound x − mean in L∞: one rounding of each difference."""
    unit, largest = 2 * arithmetic.unit, float(layer.mean.double().abs().max())
    return _safely(Rounding(unit, unit * largest + arithmetic.tiny), LARGEST_NORM + largest, arithmetic)


BOUNDS: dict[type, Callable[..., Rounding]] = {
    FoldedResidual: _residual,
    FoldedLinearForm: _linear,
    FoldedCircular: _circular,
    FoldedSandwich: _sandwich,
    Recurrent: _recurrent,
    zoo_layers.NormOneAvgPool2d: _pooling,
    zoo_layers.Householder: _householder,
    zoo_layers.SortLinear: _sorted,
    zoo_layers.SortHead: _sorted,
    zoo_layers.MeanShift: _mean_shift,
}


def norm_upper_bound(nonnegative: Tensor) -> float:
    """Return a number not below the norm of a nonnegative matrix, in float64: ‖M‖² ≤ ‖M‖₁ ‖M‖_∞ and ‖M‖ ≤ ‖M‖_F."""
    rows, columns = nonnegative.sum(1).max(), nonnegative.sum(0).max()
    return 1.001 * float(torch.minimum(nonnegative.norm(), (rows * columns).sqrt()))


def _safely(rounding: Rounding, largest: float, arithmetic: Arithmetic) -> Rounding:
    """Return the bound, infinite where numbers up to ``largest`` might overflow."""
    safe = all(map(math.isfinite, rounding)) and largest < 1e-3 * arithmetic.largest
    return rounding if safe else Rounding(0.0, float("inf"))
