"""A training that sees the weights rounded as they will be saved."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor, nn
from torch.optim import Optimizer

from sll_zoo.errors import ConfigError
from sll_zoo.training.optimizers import ScheduledModule
from sll_zoo.training.strategies import require_whole_network
from sll_zoo.zoo.weights.packing import require_bits, rounded, widths


class RoundedWeights(Callback):
    """Let every step and every validation see the weights rounded to a number of bits, while the optimizer moves the exact ones.

    The gradient at the rounded weights is taken for that at the exact ones (the straight-through estimator), so that the network
    learns to do well when :func:`~sll_zoo.quantize` rounds it. Give :class:`SavePretrained` the same ``bits``. Checkpoints hold
    the exact weights. T follows the rounded weights, as it does when the network is loaded.

    Args:
        bits: Bits of a weight: 4, 6, 8, 16 for bfloat16, or 32, which changes nothing.

    Raises:
        ConfigError: Another number of bits; a strategy other than DDP or a single device; or ``WeightAveraging`` beside this
            callback, whose averages no step would see rounded.

    Source: Courbariaux, Bengio and David 2015 (arXiv 1511.00363).
    """

    def __init__(self, bits: int) -> None:
        require_bits(bits)
        self.bits = bits
        self._exact: list[tuple[nn.Parameter, Tensor]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Refuse strategies under which a process has parts of rows, and averages of weights."""
        require_whole_network(trainer, self)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it without declaring it
            if isinstance(callback, WeightAveraging):
                raise ConfigError(f"RoundedWeights with {type(callback).__name__}", "leave out one of the two")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Round the weights."""
        self._round(pl_module)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:  # noqa: ARG002
        """Give the optimizer the exact weights."""
        self._restore()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ARG002
        """Take the exact weights back after a batch without a step, whose gradients accumulate."""
        self._restore()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Round the weights."""
        self._round(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Take the exact weights back."""
        self._restore()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Do the same, before a checkpoint is written."""
        self._restore()

    @torch.no_grad()
    def _round(self, task: LightningModule) -> None:
        self._restore()
        parameters = dict(cast("ScheduledModule", task).model.named_parameters())
        for key, width in widths(parameters, self.bits).items():
            self._exact.append((parameters[key], parameters[key].detach().clone()))
            parameters[key].data.copy_(rounded(parameters[key].data, width))

    def _restore(self) -> None:
        for parameter, exact in self._exact:
            parameter.data.copy_(exact)
        self._exact = []
