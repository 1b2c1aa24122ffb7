"""Timing calls in turn, so that a machine whose speed changes is fair to all of them."""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


def seconds(call: Callable[[], object]) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(*calls: Callable[[], object], repeats: int) -> list[float]:
    """Return the median time of each call, called in turn after one round that fills the caches."""
    for call in calls:
        call()
    times = [[seconds(call) for call in calls] for _ in range(repeats)]
    return [median(of_call) for of_call in zip(*times, strict=True)]


def stepping(model: nn.Module, images: Tensor, bfloat16: bool = False) -> Callable[[], None]:
    """Return a training step: forward, cross-entropy, backward and NAdam, with autocast on a CPU for ``bfloat16``."""
    optimizer, target = torch.optim.NAdam(model.train().parameters(), lr=1e-4), torch.zeros(len(images), dtype=torch.long)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            loss = cross_entropy(model(images), target)
        loss.backward()
        optimizer.step()

    return step
