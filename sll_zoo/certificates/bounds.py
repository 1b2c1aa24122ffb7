"""Bounds of the Lipschitz constant of one layer in float64, from above by proof and from below by search.

The linear algebra here is independent of the layers' own choices of T, so that it shows a mistake in a layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sll_zoo import layers as zoo_layers
from sll_zoo.certificates.eigenvalues import largest_quotients, largest_ratio
from sll_zoo.functional.activation import slope_restricted
from sll_zoo.functional.norms import Norm, lengths
from sll_zoo.layers import FoldedCircular, FoldedLinearForm, FoldedResidual, FoldedSandwich, Recurrent, SortHead, SortLinear
from sll_zoo.models.structure import LAYERS

# Tolerance for the float64 rounding of eigenvalues near 1, which come from sums of some thousand products.
SLACK = 1e-9
# Distance of rows of norm 1 below which the digits that a distance by products loses might come near SLACK.
CLOSE_ROWS = 0.1
# Layers that are 1-Lipschitz whatever their parameters, in each norm in which a network may have them: they move, shift, fold,
# reflect or choose numbers.
MOVING_AS_ONE = (
    nn.Identity,
    nn.Flatten,
    nn.ReLU,
    nn.PixelUnshuffle,
    zoo_layers.Center,
    zoo_layers.PadChannels,
    zoo_layers.PixelUnshuffle,
    zoo_layers.TruncateChannels,
    zoo_layers.WindowPartition,
    zoo_layers.CyclicShift,
    zoo_layers.WindowReverse,
    zoo_layers.MaxMin,
    zoo_layers.MeanShift,
    zoo_layers.Absolute,
    zoo_layers.Householder,
)


def lipschitz_upper_bound(layer: nn.Module, x: Tensor, norm: Norm = "2") -> tuple[float, float]:
    """Return the margin of the condition and the proved upper bound of the constant, for inputs of the shape of ``x``.

    Args:
        layer: A layer in float64, folded if it can be.
        x: (batch, ...).
        norm: The norm of inputs and outputs.

    Returns:
        1 − λ_max(T^{-1/2} WᵀW T^{-1/2}), 1 − ‖W̃‖ or 1 − Σ wᵢ, NaN where none applies; and the bound, infinite where there is no
        proof in this norm.
    """
    kind = type(layer)  # not for a subclass, which may compute anything
    if kind not in LAYERS[norm]:
        return float("nan"), float("inf")
    bound = UPPER_BOUNDS.get(kind)
    return bound(layer, x) if bound else (float("nan"), 1.0 if kind in MOVING_AS_ONE else float("inf"))


def _residual_bound(layer: FoldedResidual, x: Tensor) -> tuple[float, float]:
    if (layer.step < 0).any():
        return float("nan"), float("inf")
    top = largest_ratio(layer.weight, layer.step / 2, x, layer.padding_mode)
    # With T⁻¹ WᵀW T⁻¹ ≼ ρ T⁻¹ the proof of the residual form gives ‖h(x) − h(y)‖ ≤ (2ρ − 1) ‖x − y‖ for ρ ≥ 1.
    return 1 - top, max(1.0, 2 * top - 1) if top > 1 + SLACK else 1.0


def _linear_bound(layer: FoldedLinearForm, x: Tensor) -> tuple[float, float]:
    ones = torch.ones(len(layer.weight), dtype=torch.float64)
    return _norm(largest_ratio(layer.weight, ones, x, layer.padding_mode) ** 0.5)


def _circular_bound(layer: FoldedCircular, _: Tensor) -> tuple[float, float]:
    return _norm(_largest_norm(layer.matrices()))


def _sandwich_bound(layer: FoldedSandwich, _: Tensor) -> tuple[float, float]:
    """Bound a sandwich layer: it is 1-Lipschitz if Ψ is positive and Aᴴ stacked on Bᴴ has norm at most 1."""
    return _norm(_largest_norm(layer.matrices())) if (layer.psi > 0).all() else (float("nan"), float("inf"))


def _largest_norm(matrices: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrices, 2).amax())


def _head_bound(layer: zoo_layers.UnitRowsLinear, _: Tensor) -> tuple[float, float]:
    return float("nan"), torch.linalg.matrix_norm(unit_rows(layer.weight), 2).item()


def _pool_bound(layer: zoo_layers.NormOneAvgPool2d, _: Tensor) -> tuple[float, float]:
    """Bound sums of k² entries over a divisor, on windows that do not overlap: the norm is k / divisor."""
    edge = cast("int", layer.kernel_size)
    return _norm(edge / float(layer.divisor_override or edge**2) if layer.stride == edge else float("inf"))


def _max_pool_bound(layer: nn.AdaptiveMaxPool2d, _: Tensor) -> tuple[float, float]:
    """Bound the maximum over the whole image: it changes by no more than the image does."""
    return float("nan"), 1.0 if layer.output_size in (1, (1, 1)) else float("inf")


def _recurrent_bound(layer: Recurrent, x: Tensor) -> tuple[float, float]:
    """Bound the last state: a cell of constant L ≥ 1 gives ‖Δs_{t+1}‖² ≤ L² (‖Δs_t‖² + ‖Δx_t‖²), and so L^steps."""
    step = x.new_zeros(1, layer.state + layer.inputs)
    margins, bounds = zip(*(lipschitz_upper_bound(part, step) for part in layer.cell), strict=True)
    constant = torch.tensor(bounds, dtype=torch.float64).prod()
    margin = min((margin for margin in margins if not math.isnan(margin)), default=float("nan"))
    return margin, float(constant ** x.shape[2])


def _sort_bound(layer: SortLinear, _: Tensor) -> tuple[float, float]:
    """Bound a weighted sum of sorted distances, 1-Lipschitz each, by the exact sum of the weights, without any slack."""
    total = sum(abs(Fraction(weight)) for weight in layer.order_weights().tolist())
    return float(1 - total), 1.0 if total <= 1 else float(total)


def _norm(norm: float) -> tuple[float, float]:
    return 1 - norm, norm if norm > 1 + SLACK else 1.0


# The norm of each bound is that in which ``LAYERS`` has the layer.
UPPER_BOUNDS: dict[type, Callable[..., tuple[float, float]]] = {
    FoldedResidual: _residual_bound,
    FoldedLinearForm: _linear_bound,
    FoldedCircular: _circular_bound,
    FoldedSandwich: _sandwich_bound,
    Recurrent: _recurrent_bound,
    zoo_layers.UnitRowsLinear: _head_bound,
    zoo_layers.NormOneAvgPool2d: _pool_bound,
    nn.AdaptiveMaxPool2d: _max_pool_bound,
    SortLinear: _sort_bound,
    SortHead: _sort_bound,
}


def unit_rows(weight: Tensor) -> Tensor:
    """Return a matrix with its rows divided by their norms; rows of zeros stay."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
    return weight / torch.where(norms > 0, norms, 1.0)


def unit_rows_distances(weight: Tensor) -> Tensor:
    """Return the L2 distances between the rows of a matrix divided by their norms: by products, of close rows by differences."""
    rows = unit_rows(weight)
    distances: Tensor = torch.cdist(rows, rows, compute_mode="use_mm_for_euclid_dist").fill_diagonal_(0)
    close = (distances < CLOSE_ROWS).sum(1) > 1  # to another row than itself
    distances[close] = torch.cdist(rows[close], rows, compute_mode="donot_use_mm_for_euclid_dist")
    return distances


def reference(layer: nn.Module, x: Tensor) -> Tensor | None:
    """Return the output of a folded layer for ``x`` by a second implementation of its formula; None for other kinds of layers."""
    if isinstance(layer, FoldedLinearForm):
        return _applied(layer.weight, x, layer.padding_mode) + _along_channels(layer.bias, x)
    if isinstance(layer, FoldedResidual):
        z = _applied(layer.weight, x, layer.padding_mode) + _along_channels(layer.bias, x)
        y = slope_restricted(layer.activation)(z) * _along_channels(layer.step, x)
        back = layer.weight.transpose(0, 1)
        return x - _applied(back.flip(2, 3) if back.ndim == 4 else back, y, layer.padding_mode)
    if isinstance(layer, zoo_layers.UnitRowsLinear):
        return _applied(unit_rows(layer.weight), x, "zeros") + _along_channels(layer.bias, x)
    if isinstance(layer, FoldedCircular):
        return _moved(layer.matrices(), x) + _along_channels(layer.bias, x)
    if isinstance(layer, FoldedSandwich):
        factors, psi = layer.matrices(), _along_channels(layer.psi, x)
        a, b = factors[..., : len(layer.psi), :], factors[..., len(layer.psi) :, :]
        hidden = math.sqrt(2) * _moved(b.mH, x) / psi + _along_channels(layer.bias, x)
        return math.sqrt(2) * _moved(a, psi * hidden.clamp_min(0))
    if isinstance(layer, Recurrent):
        return _last_state(layer, x)
    if isinstance(layer, SortLinear):
        powers = layer.rho ** torch.arange(x.shape[1], dtype=x.dtype)
        values = [(x + row).abs().sort(1, descending=True).values @ powers for row in layer.weight]
        return torch.stack(values, 1) * (layer.rho - 1 if isinstance(layer, SortHead) else 1 - layer.rho)
    return None


def _last_state(layer: Recurrent, x: Tensor) -> Tensor:
    """Return the last state of a folded recurrent layer, step by step."""
    state = x.new_zeros(len(x), layer.state)
    for step in range(x.shape[2]):
        both = torch.cat([state, x[:, :, step].flatten(1)], 1)
        for part in layer.cell:
            expected = reference(part, both)
            both = part(both) if expected is None else expected
        state = both[:, both.shape[1] - layer.state :]
    return state


def _moved(matrices: Tensor, x: Tensor) -> Tensor:
    """Apply a real matrix to all vectors or pixels, or a complex one to each frequency of images."""
    if not matrices.is_complex():
        return torch.einsum("oc,bc...->bo...", matrices, x)
    moved = torch.einsum("hwoc,bchw->bohw", matrices, torch.fft.rfft2(x))
    back: Tensor = torch.fft.irfft2(moved, s=tuple(x.shape[2:]))
    return back


def _applied(weight: Tensor, x: Tensor, padding_mode: str) -> Tensor:
    if weight.ndim == 2:
        return x @ weight.mT
    mode = "constant" if padding_mode == "zeros" else padding_mode
    return F.conv2d(F.pad(x, (weight.shape[-1] // 2,) * 4, mode=mode), weight)


def _along_channels(values: Tensor | None, x: Tensor) -> Tensor | float:
    return 0.0 if values is None else values.view(-1, *(1,) * (x.ndim - 2))


def lipschitz_estimate(layer: nn.Module, x: Tensor, norm: Norm = "2", steps: int = 8) -> float:
    """Return the largest gain that a search finds for the Jacobian J at the inputs ``x``: a lower bound of the constant.

    In L2 it is Lanczos' method for JᵀJ. In L∞ each step turns a direction into signs, and looks at the output that moves most:
    Boyd's iteration for operator norms.

    Args:
        layer: A layer in float64.
        x: (batch, ...).
        norm: The norm of inputs and outputs.
        steps: Number of products with J, and with Jᵀ.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = layer(x)
        cotangent = torch.zeros_like(y, requires_grad=True)
        if not y.requires_grad:
            return 0.0
        (pulled,) = torch.autograd.grad(y, x, cotangent, create_graph=True, materialize_grads=True)
        if not pulled.requires_grad:
            return 0.0

    def push(direction: Tensor) -> Tensor:
        # Jᵀu is linear in u, and its derivative by u gives products with J.
        return torch.autograd.grad(pulled, cotangent, direction, retain_graph=True)[0]

    def pull(pushed: Tensor) -> Tensor:
        return torch.autograd.grad(y, x, pushed, retain_graph=True)[0]

    direction = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    if norm == "2":
        return float(largest_quotients(lambda direction: pull(push(direction)), direction, steps).amax().clamp_min(0).sqrt())
    gain = torch.zeros(())
    for _ in range(steps):
        pushed = push(direction.sign())
        gain = torch.maximum(gain, lengths(pushed, norm).max())
        most = pushed.abs() == pushed.abs().flatten(1).amax(1).view(-1, *(1,) * (pushed.ndim - 1))
        direction = pull(pushed * most)
    return float(gain)
