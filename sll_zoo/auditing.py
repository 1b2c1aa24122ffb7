"""An audit of a whole network: the constant of each layer, from above by proof and from below by search."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sll_zoo.bounds import SLACK, lipschitz_estimate, lipschitz_upper_bound, unit_rows
from sll_zoo.layers import FAMILIES, UnitRowsLinear, fold
from sll_zoo.models import LipschitzClassifier


@dataclass(frozen=True)
class LayerAudit:
    """What the audit found of one layer.

    Attributes:
        name: Path of the module in the network.
        kind: Its class.
        family: Its family, empty for layers that belong to none.
        t: What that family's T is.
        shape: Of its weight, empty without one.
        margin: 1 − λ_max(T^{-1/2} WᵀW T^{-1/2}), or 1 − ‖W̃‖ of a linear map; NaN where neither applies.
        upper_bound: Proved bound of the Lipschitz constant in L2; infinite where there is no proof.
        lower_bound: The largest gain that a search found.
        problem: What is wrong, empty if nothing is.
    """

    name: str
    kind: str
    family: str = ""
    t: str = ""
    shape: tuple[int, ...] = ()
    margin: float = float("nan")
    upper_bound: float = float("inf")
    lower_bound: float = 0.0
    problem: str = ""

    @property
    def gap(self) -> float:
        """Upper minus lower bound."""
        return self.upper_bound - self.lower_bound


@dataclass(frozen=True)
class Audit:
    """What the audit found of a network.

    Attributes:
        layers: One entry a layer, in order of execution.
        constant: Product of the upper bounds under the head: the Lipschitz constant of the features.
        pairwise: Smallest and largest constant of the difference of two logits; NaN without logits.
    """

    layers: tuple[LayerAudit, ...]
    constant: float
    pairwise: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the audit in JSON's types, with null for NaN and infinity."""
        rows = [{key: _finite(value) for key, value in (vars(layer) | {"gap": layer.gap}).items()} for layer in self.layers]
        pairwise = [_finite(value) for value in self.pairwise]
        return {"layers": rows, "constant": _finite(self.constant), "pairwise": pairwise, "problems": self.problems}

    @property
    def problems(self) -> list[str]:
        """One sentence for each layer that breaks its claim."""
        return [f"{layer.name} ({layer.kind}): {layer.problem}" for layer in self.layers if layer.problem]


class _Call(NamedTuple):
    """One execution of a layer."""

    name: str
    layer: nn.Module
    x: Tensor
    y: Tensor


def audit(model: LipschitzClassifier, progress: Callable[[list[Any]], Iterable[Any]] = iter) -> Audit:
    """Check every layer of a network against the claim that it is 1-Lipschitz, and that the network is nothing but its layers.

    Args:
        model: A network of the zoo; it is not changed.
        progress: Wraps the list of layers, such as ``rich.progress.track``.

    Returns:
        The audit; the network keeps its claims if ``problems`` is empty.
    """
    model = copy.deepcopy(model).double().eval().requires_grad_(False)
    calls, x, y = _trace(model)
    claimed = model.pairwise_lipschitz() if model.num_classes else torch.full((1, 1), torch.nan)
    # Each layer takes what the one before it gave, and the network returns what the last one gave.
    before = [x, *(call.y for call in calls)]
    found = []
    for call, given in progress(list(zip(calls, before, strict=False))):
        layer = _audit_layer(call, model.config.family, claimed)
        if not layer.problem and not _same(call.x, given):
            layer = LayerAudit(call.name, layer.kind, problem="its input is not the output of the layer before it")
        found.append(layer)
    if not _same(before[-1], y):
        found.append(LayerAudit("output", type(model).__name__, problem="the network changes the output of its last layer"))
    constant = math.prod(layer.upper_bound for layer in found if layer.name != "head")
    constants = claimed[~torch.eye(len(claimed), dtype=torch.bool)]
    pairwise = (constants.min().item(), constants.max().item()) if len(constants) else (float("nan"),) * 2
    return Audit(tuple(found), constant, pairwise)


def _trace(model: LipschitzClassifier) -> tuple[list[_Call], Tensor, Tensor]:
    """Return what each layer took and gave for two random images, the images, and what the network returned."""
    calls: list[_Call] = []
    hooks = [
        module.register_forward_hook(lambda layer, args, y, name=name: calls.append(_Call(name, layer, args[0], y)))
        for name, module in model.named_modules()
        if not isinstance(module, LipschitzClassifier | nn.Sequential)
    ]
    x = torch.rand(2, *model.config.input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = model(x)
    for hook in hooks:
        hook.remove()
    return calls, x, y


def _same(x: Tensor, y: Tensor) -> bool:
    """Return whether two tensors hold the same numbers in the same order, whatever their shapes; NaN is like itself."""
    return x.numel() == y.numel() and torch.allclose(x.flatten(), y.flatten(), rtol=0, atol=0, equal_nan=True)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _audit_layer(call: _Call, family: str, claimed: Tensor) -> LayerAudit:
    """Return what is found of one layer, ``claimed`` being the constants that the network states for its logits."""
    name, layer, x, _ = call
    known = isinstance(layer, FAMILIES[family].classes)
    weight = getattr(layer, "weight", None)
    about = LayerAudit(
        name=name,
        kind=type(layer).__name__,
        family=family if known else "",
        t=FAMILIES[family].t if known else "",
        shape=() if weight is None else tuple(weight.shape),
    )
    broken = [key for key, value in layer.state_dict().items() if not value.isfinite().all()]
    if broken:
        return replace(about, problem=f"NaN or infinity in {broken[0]}")
    folded = fold(layer)
    margin, upper = lipschitz_upper_bound(folded, x)
    lower = lipschitz_estimate(folded, x)
    problem = ""
    if upper == float("inf"):
        problem = "a layer of this kind has no proof of being 1-Lipschitz"
    elif not torch.allclose(folded(x), layer(x), rtol=1e-9, atol=1e-9, equal_nan=True):
        problem = "it computes something else than its folded form, on which certificates rest"
    elif isinstance(layer, UnitRowsLinear):
        problem = _problem_of_head(layer, x, claimed)
    elif max(upper, lower) > 1 + SLACK:
        problem = f"its constant is between {lower:.6g} and {upper:.6g}, above 1"
    return replace(about, margin=margin, upper_bound=upper, lower_bound=lower, problem=problem)


def _problem_of_head(head: UnitRowsLinear, x: Tensor, claimed: Tensor) -> str:
    """Return what is wrong with the head, or nothing."""
    rows = unit_rows(head.weight)
    if not torch.allclose(head(x), F.linear(x, rows, head.bias), rtol=1e-9, atol=1e-9, equal_nan=True):
        return "it computes something else than x ↦ W̃ x + b with rows of norm 1"
    constants = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    if (claimed < constants - SLACK).any():
        return "the constants that the network states for differences of logits are too small"
    return ""
