"""An audit of a network: bounds of each layer's Lipschitz constant, from above by proof and from below by search."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn

from sll_zoo.certificates.bounds import SLACK, lipschitz_estimate, lipschitz_upper_bound, reference, unit_rows_distances
from sll_zoo.errors import InputError
from sll_zoo.files import json_number
from sll_zoo.functional.finite import not_finite
from sll_zoo.functional.norms import Norm, norm_label, norm_of
from sll_zoo.layers import FAMILIES, HEADS, FoldedResidual, SortHead, UnitRowsLinear, fold
from sll_zoo.layers.attachments import attachment
from sll_zoo.layers.derived import derived_once
from sll_zoo.layers.residual import ResidualConv2d, ResidualLinear
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.chain import Call, Trace, random_images, trace
from sll_zoo.models.structure import attachments


@dataclass(frozen=True)
class LayerAudit:
    """The audit of one layer.

    Attributes:
        name: Path of the module in the network.
        kind: Its class.
        family: Its family, empty for layers that belong to none.
        t: Description of that family's T.
        shape: Shape of its weight, empty without one.
        margin: 1 − λ_max(T^{-1/2} WᵀW T^{-1/2}), 1 − ‖W̃‖ of a linear map, or 1 − Σ wᵢ of sorted distances; NaN otherwise.
        upper_bound: Proved bound of the Lipschitz constant in the network's norm; infinite where there is no proof.
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
    """The audit of a network.

    Attributes:
        layers: One entry a layer, in order of execution.
        constant: Product of the upper bounds of all layers before the head: a bound for the features.
        pairwise: Smallest and largest constant of the difference of two logits; NaN without logits.
        norm: The norm of all bounds and constants.
    """

    layers: tuple[LayerAudit, ...]
    constant: float
    pairwise: tuple[float, float]
    norm: Norm

    def to_dict(self) -> dict[str, Any]:
        """Return the audit in JSON's types, with null for NaN and infinity."""
        rows = [{key: json_number(value) for key, value in (vars(layer) | {"gap": layer.gap}).items()} for layer in self.layers]
        pairwise = [json_number(value) for value in self.pairwise]
        return {
            "norm": norm_label(self.norm),
            "layers": rows,
            "constant": json_number(self.constant),
            "pairwise": pairwise,
            "problems": self.problems,
        }

    @property
    def problems(self) -> list[str]:
        """One sentence for each layer that breaks its claim."""
        return [f"{layer.name} ({layer.kind}): {layer.problem}" for layer in self.layers if layer.problem]


def audit(model: LipschitzClassifier, progress: Callable[[list[Any]], Iterable[Any]] = iter) -> Audit:
    """Check that every layer of a network is 1-Lipschitz, and that the network is a chain of its layers.

    The output of a layer is compared with the audit's own formula, and the chain is followed, for a few random inputs only. The
    package's own residual layers compute T once, others once for the layer and once for its folded form: code that is written to
    deceive can pass.

    Args:
        model: A network of the zoo; it is not changed.
        progress: Wraps the list of layers, such as ``rich.progress.track``.

    Returns:
        The audit; the network passes if ``problems`` is empty.

    Raises:
        InputError: Something else than a network of the zoo.
    """
    if not isinstance(model, LipschitzClassifier):
        raise InputError(
            f"auditing a {type(model).__name__}", "give a network of create_model, or a LipschitzClassifier of yours"
        )
    model = copy.deepcopy(model).double().eval().requires_grad_(False)
    norm = norm_of(model)
    has_logits = isinstance(model.head, HEADS[norm])
    claimed = cast("UnitRowsLinear | SortHead", model.head).pairwise_lipschitz() if has_logits else torch.full((1, 1), torch.nan)
    found = []
    # T is a vector, and takes long: layers keep it. Matrices of other families would take much memory.
    with derived_once(layer for layer in model.modules() if _keeps_t(layer)):
        traced = trace(model, random_images(model, 2))
        broken = _broken_links(model, traced)
        for call in progress(traced.calls):
            layer = _audit_layer(call, model.config.family, norm, claimed)
            found.append(broken.pop(call.name) if call.name in broken and not layer.problem else layer)
    found.extend(broken.values())
    constant = math.prod(layer.upper_bound for layer in found if layer.name != "head")
    constants = claimed[~torch.eye(len(claimed), dtype=torch.bool)]
    pairwise = (constants.min().item(), constants.max().item()) if len(constants) else (float("nan"),) * 2
    return Audit(tuple(found), constant, pairwise, norm)


def _broken_links(model: LipschitzClassifier, traced: Trace) -> dict[str, LayerAudit]:
    """Return by name the layers that break the chain from the images to the head."""
    broken = {
        name or "network": LayerAudit(name or "network", kind, problem=problem) for name, kind, problem in attachments(model)
    }
    if type(model).pairwise_lipschitz is not LipschitzClassifier.pairwise_lipschitz:
        broken["network"] = LayerAudit("network", type(model).__name__, problem="it states constants of its own for its logits")
    kinds = {call.name: type(call.layer).__name__ for call in traced.calls}
    for name in traced.breaks():
        if name == "output":
            problem = "the network changes the output of its last layer"
            broken[name] = LayerAudit(name, type(model).__name__, problem=problem)
        elif name not in broken:
            broken[name] = LayerAudit(name, kinds[name], problem="its input is not the output of the layer before it")
    if model.num_classes and not traced.ends_with(model.head):
        broken["head"] = LayerAudit("head", type(model.head).__name__, problem="it is not the last layer, once")
    return broken


def _audit_layer(call: Call, family: str, norm: Norm, claimed: Tensor) -> LayerAudit:
    """Return the audit of one layer; ``claimed`` are the constants that the network states for its logits."""
    name, layer, x, _ = call
    made = FAMILIES.get(family)
    known = made is not None and isinstance(layer, made.classes)
    weight = getattr(layer, "weight", None)
    about = LayerAudit(
        name=name,
        kind=type(layer).__name__,
        family=family if known else "",
        t=made.t if made is not None and known else "",
        shape=() if weight is None else tuple(weight.shape),
    )
    if isinstance(layer, UnitRowsLinear) and name != "head":
        return replace(about, problem="a head within a network, which is not 1-Lipschitz")
    if broken := not_finite(layer.state_dict()):
        return replace(about, problem=f"NaN or infinity in {broken[0]}")
    folded = _folded(layer, x)
    margin, upper = lipschitz_upper_bound(folded, x, norm)
    lower = lipschitz_estimate(folded, x, norm)
    problem = ""
    if upper == float("inf"):
        problem = "a layer of this kind has no proof of being 1-Lipschitz"
    elif not _agree(layer, folded, torch.cat([x, 100 * x])):
        problem = "it computes something else than its formula, or than its folded form, on which certificates rest"
    elif isinstance(layer, UnitRowsLinear):
        problem = _problem_of_head(unit_rows_distances(layer.weight), claimed)
    elif max(upper, lower) > 1 + SLACK:
        problem = f"its constant is between {lower:.12g} and {upper:.12g}, above 1"
    elif isinstance(layer, SortHead):
        problem = _problem_of_head(2 * upper * (1 - torch.eye(len(claimed))), claimed)
    return replace(about, margin=margin, upper_bound=upper, lower_bound=lower, problem=problem)


def _keeps_t(layer: nn.Module) -> TypeGuard[ResidualLinear | ResidualConv2d]:
    """Return whether a layer is a residual one of this package, whose T depends on its weights alone."""
    own = any(type(layer) in family.classes for family in FAMILIES.values())
    return own and isinstance(layer, ResidualLinear | ResidualConv2d) and not attachment(layer)


def _folded(layer: nn.Module, x: Tensor) -> nn.Module:
    if _keeps_t(layer):
        return FoldedResidual(layer.weight, layer.bias, layer.derived(layer.step), layer.activation, layer.padding_mode)
    return fold(layer, size=(x.shape[2], x.shape[3]) if x.ndim == 4 else None)


def _agree(layer: nn.Module, folded: nn.Module, x: Tensor) -> bool:
    """Return whether a layer, its folded form and its formula give the same for ``x``."""
    given = layer(x)
    others = [other for other in (folded(x), reference(folded, x)) if other is not None]
    return all(torch.allclose(given, other, rtol=1e-9, atol=1e-9, equal_nan=True) for other in others)


def _problem_of_head(constants: Tensor, claimed: Tensor) -> str:
    """Return what is wrong with the constants that a network states for its head, or nothing."""
    if not (claimed >= constants - SLACK).all():
        return "the constants that the network states for differences of logits are too small"
    return ""
