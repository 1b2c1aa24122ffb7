"""The SortNet neuron, a weighted sum of sorted distances, and its relaxation for training; each is 1-Lipschitz in L∞.

Reference: Zhang, Jiang, He and Wang, "Rethinking Lipschitz Neural Networks and Certified Robustness: A Boolean Function
Perspective", NeurIPS 2022 (arXiv 2210.01787); for ρ = 0, Zhang et al. 2021 (arXiv 2102.05363).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sll_zoo.compat import graph_is_captured
from sll_zoo.errors import ConfigError, is_number
from sll_zoo.functional.fast.products import derivatives_are_taken_in_reverse

# Distances (images times units times inputs) computed at a time: 1 MB in float32, which fits a processor's cache.
PIECE = 2**18


class Rule(NamedTuple):
    """How the distances of a unit from its inputs become one number.

    Attributes:
        value: From distances (batch, units, inputs), at least 0, to values (batch, units).
        slopes: From the same and the values to the derivatives of each value by its distances.
    """

    value: Callable[[Tensor], Tensor]
    slopes: Callable[[Tensor, Tensor], Tensor]


def order_weights(
    rho: float, inputs: int, dtype: torch.dtype = torch.float64, device: torch.device | None = None
) -> Float[Tensor, " kept"]:
    """Return the weights wᵢ = (1 − ρ) ρ^(i−1) of the largest distance, the second largest, and so on.

    They end where the rest, ρ^kept times the largest distance, is below a unit of rounding, and are rounded down: as they are
    stored, they are nonnegative and of sum at most 1, which is all that the neuron needs to be 1-Lipschitz.

    Args:
        rho: ρ in [0, 1).
        inputs: Most weights to return.
        dtype: Floating-point type of the weights.
        device: Where they are stored.

    Raises:
        ConfigError: Another ρ.
    """
    require_rho(rho)
    eps = torch.finfo(dtype).eps
    kept = min(inputs, math.ceil(math.log(eps / 2) / math.log(rho))) if rho else 1
    down = 1 - 4 * eps if rho else 1.0  # power, product and conversion are off by less than 4 eps
    return torch.tensor([down * (1 - rho) * rho**place for place in range(kept)], dtype=dtype, device=device)


def sorted_distances(
    x: Float[Tensor, "batch inputs"], offsets: Float[Tensor, "units inputs"], weights: Float[Tensor, " kept"]
) -> Float[Tensor, "batch units"]:
    """Return y_k = Σᵢ wᵢ sort(|x + b_k|)ᵢ, the largest distance first.

    1-Lipschitz in L∞ if Σ |wᵢ| ≤ 1: sorting and absolute values move no coordinate by more than x moves.

    Args:
        x: Inputs.
        offsets: b.
        weights: w, of :func:`order_weights`.
    """
    return _reduced(x, offsets, _by_order(weights))


def power_distances(
    x: Float[Tensor, "batch inputs"], offsets: Float[Tensor, "units inputs"], p: float
) -> Float[Tensor, "batch units"]:
    """Return y_k = ‖x + b_k‖_p, the training's relaxation of :func:`sorted_distances`, on the inputs that a random mask keeps.

    If each input is dropped with probability ρ, independently, the i-th largest distance is the largest of those that are kept
    with probability (1 − ρ) ρ^(i−1): for p = ∞, the expectation of y_k over the masks is the neuron itself. Without any input it
    is 0. For p < ∞ its slopes are at most 1 each, but their sum is not: it is 1-Lipschitz in l_p, not in L∞.

    The largest distance is taken out of the sum, so that no p overflows: the rest are powers of numbers in [0, 1].

    Args:
        x: Inputs.
        offsets: b.
        p: At least 1; infinity for the maximum.

    Raises:
        ConfigError: A p below 1, NaN, or finite but too large for the inputs' type.
    """
    require_power(p, x.dtype)
    if not x.shape[1]:
        return x.sum(1)[:, None] + offsets.sum(1)
    rule = _by_order(x.new_ones(1)) if p == math.inf else Rule(lambda z: _power_norm(z, p), lambda z, y: _power_slopes(z, y, p))
    return _reduced(x, offsets, rule)


def require_rho(rho: object) -> None:
    """Raise ConfigError unless ρ is in [0, 1)."""
    if not is_number(rho) or not 0 <= rho < 1:
        raise ConfigError(f"rho={rho!r}", "give a number of at least 0, below 1, such as 0.3; 0 is the L-infinity distance")


def require_power(p: object, dtype: torch.dtype = torch.float32) -> None:
    """Raise ConfigError unless p is at least 1, and infinite or a number of a floating-point type."""
    if not is_number(p) or not p >= 1:
        raise ConfigError(f"p={p!r}", "give a number of at least 1; float('inf') for the maximum")
    if p > torch.finfo(dtype).max and p != math.inf:
        raise ConfigError(f"p={p:.3g} overflows {dtype}", "give float('inf'), which is the maximum itself")


def _by_order(weights: Tensor) -> Rule:
    def value(z: Tensor) -> Tensor:
        return (z.topk(len(weights), dim=2).values * weights).sum(2)

    def slopes(z: Tensor, _: Tensor) -> Tensor:
        places = z.topk(len(weights), dim=2).indices
        return torch.zeros_like(z).scatter(2, places, weights.expand(places.shape))

    return Rule(value, slopes)


def _power_norm(z: Tensor, p: float) -> Tensor:
    largest = z.amax(2).clamp_min(torch.finfo(z.dtype).tiny)
    return largest * _raised(z / largest[..., None], p).sum(2).pow(1 / p)


def _power_slopes(z: Tensor, y: Tensor, p: float) -> Tensor:
    return _raised(z / y.clamp_min(torch.finfo(y.dtype).tiny)[..., None], p - 1)


def _raised(z: Tensor, p: float) -> Tensor:
    """Return z^p; if p is whole, by squares and products, which on a CPU take a fraction of the time of powers."""
    if not 1 <= p == int(p):
        return z.pow(p)
    digits = f"{int(p):b}"
    power = z
    for digit in digits[1:]:
        power = power * power
        if digit == "1":
            power = power * z
    return power


def _reduced(x: Tensor, offsets: Tensor, rule: Rule) -> Tensor:
    """Return the values of a rule for all units; in pieces, except in an exported or compiled graph, and for ``torch.func``."""
    if graph_is_captured() or not derivatives_are_taken_in_reverse(x, offsets):
        return rule.value((x[:, None] + offsets).abs())
    reduced: Tensor = _InPieces.apply(x, offsets, rule)
    return reduced


class _InPieces(torch.autograd.Function):
    """A rule applied to some units at a time, forward and backward, so that no tensor (batch, units, inputs) is ever stored."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, offsets: Tensor, rule: Rule) -> Tensor:
        y = torch.cat([rule.value((x[:, None] + part).abs_()) for part in _pieces(x, offsets)], 1)
        ctx.save_for_backward(x, offsets, y)
        ctx.rule = rule
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, offsets, y = ctx.saved_tensors
        parts = _pieces(x, offsets)
        sizes = [len(part) for part in parts]
        by_x, by_offsets = torch.zeros_like(x), []
        for part, values, given in zip(parts, torch.split(y, sizes, 1), torch.split(gradient, sizes, 1), strict=True):
            signed = x[:, None] + part
            slopes = ctx.rule.slopes(signed.abs(), values) * signed.sign()
            by_x = by_x + torch.einsum("bk,bki->bi", given, slopes)
            if ctx.needs_input_grad[1]:
                by_offsets.append(torch.einsum("bk,bki->ki", given, slopes))
        return by_x, torch.cat(by_offsets) if by_offsets else None, None


def _pieces(x: Tensor, offsets: Tensor) -> tuple[Tensor, ...]:
    """Return the offsets of some units at a time, with about ``PIECE`` distances."""
    return torch.split(offsets, max(1, PIECE // max(1, x.numel())))
