"""Comparing the gradients of this package with those of the formula."""

from __future__ import annotations

import torch
from speed_networks import NAMES, build
from torch import Tensor
from torch.nn import functional as F

import sll_zoo

BATCH = 64


def gradients(model: str) -> dict[str, float]:
    """Return relative differences of gradients: ours from the formula's, and both in float32 from the formula's in float64."""
    found = {(name, dtype): gradient(model, name, dtype) for name in NAMES[:2] for dtype in (torch.float32, torch.float64)}

    def difference(one: tuple[str, torch.dtype], other: tuple[str, torch.dtype]) -> float:
        here, there = (torch.cat([value.flatten() for value in found[side].values()]) for side in (one, other))
        return float((here - there).norm() / there.norm())

    single, double = torch.float32, torch.float64
    ours, formula = found["ours", single], found["formula", single]
    return {
        "float32": difference(("ours", single), ("formula", single)),
        "worst": max(float((ours[key] - value).norm() / value.norm()) for key, value in formula.items()),
        "float64": difference(("ours", double), ("formula", double)),
        "ours": difference(("ours", single), ("formula", double)),
        "formula": difference(("formula", single), ("formula", double)),
    }


def gradient(model: str, name: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the gradient of each parameter, computed in ``dtype`` and converted to float64."""
    network = build(model, name, torch.device("cpu")).to(dtype)
    images = torch.rand(BATCH, *sll_zoo.create_model(model).config.input_shape, generator=torch.Generator().manual_seed(0))
    F.cross_entropy(network(images.to(dtype)), torch.arange(BATCH) % 10).backward()
    return {key: parameter.grad.double() for key, parameter in network.named_parameters()}
