"""The Lipschitz constant of one layer, from above by proof and from below by search, in float64.

By linear algebra that shares nothing with the layers' own choices of T, so that a mistake in a layer cannot hide itself.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.functional import jvp, vjp

from sll_zoo import layers as zoo_layers
from sll_zoo.functional.orthogonal import LOG_NORM_LIMIT
from sll_zoo.layers import FoldedLinearForm, FoldedResidual

# Float64 rounding of eigenvalues near 1, through sums of some thousand products.
SLACK = 1e-9
# Of norm at most 1 whatever their parameters.
NORM_ONE = (
    nn.Identity,
    nn.PixelUnshuffle,
    zoo_layers.Center,
    zoo_layers.PadChannels,
    zoo_layers.TruncateChannels,
    zoo_layers.MaxMin,
    zoo_layers.Householder,
    zoo_layers.Absolute,
)


def lipschitz_upper_bound(layer: nn.Module, x: Tensor) -> tuple[float, float]:
    """Return the margin of the condition and the proved upper bound of the constant, for inputs of the shape of ``x``.

    Args:
        layer: In float64, folded if it can be.
        x: (batch, ...).

    Returns:
        1 − λ_max(T^{-1/2} WᵀW T^{-1/2}) or 1 − ‖W̃‖, NaN where neither applies; and the bound, infinite where there is no proof.
    """
    if isinstance(layer, FoldedResidual):
        top = _largest_ratio(layer.weight, layer.step / 2, x)
        # With T⁻¹ WᵀW T⁻¹ ≼ ρ T⁻¹ the proof of the residual form gives ‖h(x) − h(y)‖ ≤ (2ρ − 1) ‖x − y‖ for ρ ≥ 1.
        return 1 - top, max(1.0, 2 * top - 1) if top > 1 + SLACK else 1.0
    if isinstance(layer, FoldedLinearForm):
        norm = _largest_ratio(layer.weight, torch.ones(len(layer.weight), dtype=torch.float64), x) ** 0.5
        return 1 - norm, norm if norm > 1 + SLACK else 1.0
    if isinstance(layer, zoo_layers.OrthogonalConv2d):
        norm = _norm_of_circular(layer, x)
        return 1 - norm, norm if norm > 1 + SLACK else 1.0
    if isinstance(layer, zoo_layers.SandwichLinear | zoo_layers.SandwichConv2d):
        return _sandwich_bounds(layer, x)
    if isinstance(layer, zoo_layers.UnitRowsLinear):
        return float("nan"), torch.linalg.matrix_norm(unit_rows(layer.weight), 2).item()
    if isinstance(layer, zoo_layers.NormOneAvgPool2d):
        # k² weights of 1/divisor on windows that do not overlap.
        edge = cast("int", layer.kernel_size)
        norm = edge / float(layer.divisor_override or edge**2)
        return 1 - norm, norm if layer.stride == edge else float("inf")
    if isinstance(layer, nn.AdaptiveMaxPool2d):
        # Windows that do not overlap, as a single one cannot: each maximum moves by no more than its window does.
        return float("nan"), 1.0 if layer.output_size == 1 else float("inf")
    return float("nan"), 1.0 if type(layer) in NORM_ONE else float("inf")


def unit_rows(weight: Tensor) -> Tensor:
    """Return a matrix with its rows divided by their norms; rows of zeros stay."""
    norms: Tensor = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
    return weight / torch.where(norms > 0, norms, 1.0)


def _largest_ratio(weight: Tensor, inverse_t: Tensor, x: Tensor) -> float:
    """Return λ_max(T^{-1/2} V Vᵀ T^{-1/2}), exact for dense weights and circular padding, an upper bound for zero padding.

    A zero-padded convolution is a piece of the circular one on a torus larger by k − 1, which frequencies make block-diagonal.
    """
    scaled = weight * inverse_t.sqrt().view(-1, *(1,) * (weight.ndim - 1))
    if weight.ndim == 4:
        size = [edge + weight.shape[-1] - 1 for edge in x.shape[2:]]
        scaled = torch.fft.rfft2(scaled, s=size).permute(2, 3, 0, 1)
    rows, columns = scaled.shape[-2:]
    gram = scaled @ scaled.mH if rows <= columns else scaled.mH @ scaled
    return float(torch.linalg.eigvalsh(gram).amax())


def _norm_of_circular(layer: nn.Module, x: Tensor) -> float:
    """Return the norm of a linear circular convolution from its responses to one pixel in each channel."""
    zero = torch.zeros_like(x[:1])
    impulses = zero.repeat(x.shape[1], 1, 1, 1)
    impulses[range(x.shape[1]), range(x.shape[1]), 0, 0] = 1
    response = torch.fft.fft2(layer(impulses) - layer(zero)).permute(2, 3, 1, 0)
    return float(torch.linalg.matrix_norm(response, 2).amax())


def _sandwich_bounds(layer: Any, x: Tensor) -> tuple[float, float]:
    """Return how far A Aᵀ + B Bᵀ is below I, and the bound that follows, from a Cayley transform of our own."""
    weight, out = layer.weight, layer.weight.shape[1]
    weight = weight * layer.log_norm.clamp(-LOG_NORM_LIMIT, LOG_NORM_LIMIT).exp() / weight.norm()
    if weight.ndim == 4:
        k, (height, width) = weight.shape[-1], x.shape[2:]
        padded = torch.nn.functional.pad(weight, (0, width - k, 0, height - k)).roll((-(k // 2),) * 2, (2, 3))
        weight = torch.fft.rfft2(padded).permute(2, 3, 0, 1)
    top, rest = weight[..., :out, :], weight[..., out:, :]
    skew = top - top.mH + rest.mH @ rest
    identity = torch.eye(out, dtype=skew.dtype)
    q = torch.linalg.solve(identity + skew, torch.cat([identity - skew, -2 * rest], -2), left=False)
    norm = float(torch.linalg.matrix_norm(q, 2).amax())
    return 1 - norm, norm if norm > 1 + SLACK else 1.0


def lipschitz_estimate(layer: nn.Module, x: Tensor, steps: int = 20) -> float:
    """Return the largest gain that power iteration on the Jacobian finds at the inputs ``x``: a lower bound of the constant.

    Args:
        layer: In float64.
        x: (batch, ...).
        steps: Of power iteration.
    """
    direction = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    gain = torch.zeros(())
    for _ in range(steps):
        direction = direction / direction.flatten(1).norm(dim=1).clamp_min(1e-300).view(-1, *(1,) * (x.ndim - 1))
        _, pushed = jvp(layer, x, direction)  # type: ignore[no-untyped-call]
        gain = pushed.flatten(1).norm(dim=1).max()
        _, direction = vjp(layer, x, pushed)  # type: ignore[no-untyped-call]
    return float(gain)
