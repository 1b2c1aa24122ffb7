"""The exponent of SortNet layers, which grows during a training."""

from __future__ import annotations

import math
from typing import Any

from lightning import Callback, LightningModule, Trainer

from sll_zoo.errors import ConfigError, is_number
from sll_zoo.functional.sorting import require_power
from sll_zoo.layers import SortLinear


class GrowingPower(Callback):
    """Let the exponent p of every :class:`~sll_zoo.layers.SortLinear` grow from step to step, by a constant factor, to infinity.

    p is ``start`` for the first part of the training, and infinite for the last, in which the network is trained as it is
    certified, but for the inputs that it drops. Validation is of the network as it is certified, and poor at first.

    In a configuration, ``class_path: sll_zoo.training.callbacks.GrowingPower`` among ``trainer.callbacks``.

    Args:
        start: First p, at least 1.
        end: Largest finite p.
        begin: Fraction of the training after which p grows.
        until: Fraction of the training after which p is infinite.

    Raises:
        ConfigError: Exponents below 1, too large or out of order, fractions out of order, or a network without such layers.

    Source: the schedule of SortNet's code; 8, 1000 and the fractions are its settings for MNIST.
    """

    def __init__(self, start: float = 8.0, end: float = 1000.0, begin: float = 1 / 15, until: float = 29 / 30) -> None:
        require_power(start)
        require_power(end)
        if not is_number(begin) or not is_number(until) or not start <= end < math.inf or not 0 <= begin < until <= 1:
            raise ConfigError(
                f"p from {start} to {end} between {begin!r} and {until!r}",
                "give start <= end, and fractions with 0 <= begin < until <= 1",
            )
        self.start, self.end = start, end
        self.begin, self.until = begin, until

    def p_at(self, progress: float) -> float:
        """Return p when this fraction of the training is done: a whole number, whose powers are fast, or infinity.

        Example:
            >>> power = GrowingPower(10.0, 1000.0, begin=0.0, until=0.8)
            >>> [power.p_at(progress) for progress in (0.0, 0.4)], power.p_at(0.8)
            ([10.0, 100.0], inf)
        """
        grown = (progress - self.begin) / (self.until - self.begin)
        return math.inf if grown >= 1 else float(round(self.start * (self.end / self.start) ** max(0.0, grown)))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Refuse a network without such layers."""
        if not _layers(pl_module):
            raise ConfigError("GrowingPower for a network without SortLinear layers", "leave it out, or train a sortnet")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Set p for a step."""
        p = self.p_at(trainer.global_step / trainer.estimated_stepping_batches)
        for layer in _layers(pl_module):
            layer.p = p

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Set p to infinity."""
        for layer in _layers(pl_module):
            layer.p = math.inf


def _layers(module: LightningModule) -> list[SortLinear]:
    return [layer for layer in module.modules() if isinstance(layer, SortLinear)]
