"""An audit of a whole network against the condition: for each layer, its constant from above by proof and from below by search.

The bounds are computed here, in float64, by linear algebra that shares nothing with the layers' own choices of T.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.functional import jvp, vjp

from sll_zoo import layers as zoo_layers
from sll_zoo.functional.orthogonal import NORM_LIMIT
from sll_zoo.layers import fold
from sll_zoo.layers.linear_form import FoldedLinearForm
from sll_zoo.layers.residual import FoldedResidual
from sll_zoo.models import LipNet

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


@dataclass(frozen=True)
class LayerAudit:
    """What the audit found of one layer.

    Attributes:
        name: Path of the module in the network.
        kind: Its class.
        shape: Of its weight, empty without one.
        margin: 1 − λ_max(T^{-1/2} WᵀW T^{-1/2}), or 1 − ‖W̃‖ of a linear map; NaN where neither applies.
        upper_bound: Proved bound of the Lipschitz constant in L2; infinite where there is no proof.
        lower_bound: The largest gain that a search found.
        problem: What is wrong, empty if nothing is.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    margin: float
    upper_bound: float
    lower_bound: float
    problem: str


@dataclass(frozen=True)
class Audit:
    """What the audit found of a network.

    Attributes:
        layers: One entry a layer, in order.
        constant: Product of the upper bounds under the head: the Lipschitz constant of the features.
        pairwise: Smallest and largest constant of the difference of two logits; NaN without logits.
    """

    layers: tuple[LayerAudit, ...]
    constant: float
    pairwise: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the audit in JSON's types, with null for NaN and infinity."""
        rows = [{key: _finite(value) for key, value in vars(layer).items()} for layer in self.layers]
        pairwise = [_finite(value) for value in self.pairwise]
        return {"layers": rows, "constant": _finite(self.constant), "pairwise": pairwise, "problems": self.problems}

    @property
    def problems(self) -> list[str]:
        """One sentence for each layer that breaks its claim."""
        return [f"{layer.name} ({layer.kind}): {layer.problem}" for layer in self.layers if layer.problem]


def audit(model: LipNet, progress: Callable[[list[Any]], Iterable[Any]] = iter) -> Audit:
    """Check every layer of a network against the claim that it is 1-Lipschitz.

    Args:
        model: A network of the zoo; it is not changed.
        progress: Wraps the list of layers, such as ``rich.progress.track``.

    Returns:
        The audit; the network keeps its claims if ``problems`` is empty.
    """
    model = copy.deepcopy(model).double().eval().requires_grad_(False)
    leaves = [(name, module) for name, module in model.named_modules() if not isinstance(module, LipNet | nn.Sequential)]
    inputs: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, args, name=name: inputs.update({name: args[0]})) for name, module in leaves
    ]
    generator = torch.Generator().manual_seed(0)
    model(torch.rand(2, *model.config.input_shape, dtype=torch.float64, generator=generator))
    for hook in hooks:
        hook.remove()
    found = tuple(
        _audit_layer(name, module, inputs[name]) for name, module in progress([leaf for leaf in leaves if leaf[0] in inputs])
    )
    constant = 1.0
    for layer in found:
        constant *= 1.0 if layer.name == "head" else layer.upper_bound
    pairwise = (float("nan"),) * 2
    if model.num_classes > 1:
        constants = model.pairwise_lipschitz()[~torch.eye(model.num_classes, dtype=torch.bool)]
        pairwise = (constants.min().item(), constants.max().item())
    return Audit(found, constant, pairwise)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _audit_layer(name: str, layer: nn.Module, x: Tensor) -> LayerAudit:
    shape = tuple(getattr(layer, "weight", torch.empty(0)).shape) if hasattr(layer, "weight") else ()
    broken = [key for key, value in layer.state_dict().items() if not value.isfinite().all()]
    if broken:
        return LayerAudit(name, type(layer).__name__, shape, float("nan"), float("inf"), 0.0, f"NaN or infinity in {broken[0]}")
    folded = fold(layer)
    margin, upper = _bounds(folded, x)
    lower = _searched_gain(folded, x)
    problem = ""
    if upper == float("inf"):
        problem = "a layer of this kind has no proof of being 1-Lipschitz"
    elif not torch.allclose(folded(x), layer(x), rtol=1e-9, atol=1e-9, equal_nan=True):
        problem = "it computes something else than its folded form, on which certificates rest"
    elif name != "head" and max(upper, lower) > 1 + SLACK:
        problem = f"its constant is between {lower:.6g} and {upper:.6g}, above 1"
    return LayerAudit(name, type(layer).__name__, shape, margin, upper, lower, problem)


def _bounds(layer: nn.Module, x: Tensor) -> tuple[float, float]:
    """Return the margin of the condition and the proved upper bound of the constant, for images of the size of ``x``."""
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
        norm = torch.linalg.matrix_norm(layer.unit_rows(), 2).item()
        return float("nan"), norm
    if isinstance(layer, zoo_layers.NormOneAvgPool2d):
        # k² weights of 1/divisor on windows that do not overlap.
        edge = cast("int", layer.kernel_size)
        norm = edge / float(layer.divisor_override or edge**2)
        return 1 - norm, norm if layer.stride == edge else float("inf")
    return float("nan"), 1.0 if type(layer) in NORM_ONE else float("inf")


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
    weight = weight * layer.norm.clamp(-NORM_LIMIT, NORM_LIMIT) / weight.norm()
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


def _searched_gain(layer: nn.Module, x: Tensor, steps: int = 20) -> float:
    """Return the largest gain that power iteration on the Jacobian finds at the inputs ``x``: a lower bound of the constant."""
    direction = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    gain = torch.zeros(())
    for _ in range(steps):
        direction = direction / direction.flatten(1).norm(dim=1).clamp_min(1e-300).view(-1, *(1,) * (x.ndim - 1))
        _, pushed = jvp(layer, x, direction)  # type: ignore[no-untyped-call]
        gain = pushed.flatten(1).norm(dim=1).max()
        _, direction = vjp(layer, x, pushed)  # type: ignore[no-untyped-call]
    return float(gain)
