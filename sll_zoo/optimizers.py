"""What an optimizer is given: the parameters that learn, each with its share of the learning rate."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import nn
from torch.optim import Optimizer

from sll_zoo.models import LipschitzClassifier

LR_FACTOR = "lr_factor"


def parameter_groups(model: LipschitzClassifier, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Return the parameters that require gradients, grouped for an optimizer; :func:`scale_rates` gives each group its rate.

    Weight decay leaves alone what the model says it must, log q.

    Args:
        model: Its modules come in the order of the computation, the head last.
        layer_decay: The learning rate of a layer is this times that of the next one; the head's is the optimizer's.

    Source: layer-wise rates, Howard and Ruder 2018 (arXiv 1801.06146).
    """
    exempt, place = model.no_weight_decay(), model.group_matcher()
    last = max(place(name) for name, _ in model.named_parameters())
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in sorted(model.named_parameters(), key=lambda named: -place(named[0])):  # checkpoints know this order
        if parameter.requires_grad:
            groups[layer_decay ** (last - place(name)), name in exempt].append(parameter)
    return [
        {"params": parameters, LR_FACTOR: factor, **({"weight_decay": 0.0} if alone else {})}
        for (factor, alone), parameters in groups.items()
    ]


def scale_rates(optimizer: Optimizer) -> None:
    """Multiply the learning rate of each group by its factor, once, before a schedule is made."""
    for group in optimizer.param_groups:
        group["lr"] *= group.get(LR_FACTOR, 1.0)
