"""One rescaling for all batches of an optimizer step."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from sll_zoo.layers.derived import begin_batch, end_batches


class DeriveOnceAStep(Callback):
    """Compute T, and all else that layers derive from weights alone, once an optimizer step, where it accumulates gradients.

    Gradients stay exact: see :class:`~sll_zoo.layers.derived.DerivedValues`. Tasks of this package bring it along. It does
    nothing under strategies other than DDP or a single device, which may drop weights between batches.
    """

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Say whether the optimizer steps after this batch."""
        if isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy):
            ready = batch_idx + 1
            ends = ready == trainer.num_training_batches or trainer.is_last_batch
            begin_batch(pl_module, last=ends or ready % trainer.accumulate_grad_batches == 0)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Leave the layers as they were."""
        end_batches(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Do the same."""
        end_batches(pl_module)
