"""The rescaling of dense layers, shared among the processes of a training instead of repeated by each."""

from __future__ import annotations

from typing import cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import distributed

from sll_zoo.errors import ConfigError
from sll_zoo.layers import SLLLinear
from sll_zoo.training.strategies import ShardedStrategy


class ShardRescaling(Callback):
    """Let each of N processes compute 1/N of the T of every dense SLL layer, and of its derivatives.

    T depends on the weights alone, which under DDP are the same everywhere. Weights and gradients are those of a training
    without this callback, but for rounding. Two vectors of a layer's inner size, the row sums of ``|WᵀW| q`` and the gradient by
    them, are summed over the processes in every pass; where that takes longer than what it saves, leave the callback out.

    Validation and certificates compute T whole, as do convolutions and the layers of other families and of ``power``
    above 1, whose T is made in another way. With one process nothing changes.

    In a configuration, ``class_path: sll_zoo.training.callbacks.ShardRescaling`` among ``trainer.callbacks``.

    Raises:
        ConfigError: Several processes under another strategy than DDP and :class:`~sll_zoo.training.strategies.ShardedStrategy`.
    """

    def __init__(self) -> None:
        self._group: distributed.ProcessGroup | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the layers the processes."""
        if trainer.world_size == 1:
            return
        if not isinstance(trainer.strategy, DDPStrategy | ShardedStrategy):
            # The parts of a gradient are right only where it is averaged over all processes.
            raise ConfigError(f"ShardRescaling with {type(trainer.strategy).__name__}", "train with strategy ddp, or without it")
        # A group of its own: DDP reduces gradients in the other while derivatives are being taken, and two processes that come to
        # a reduction of DDP's and to one of ours in different orders must not take one for the other.
        self._group = cast("distributed.ProcessGroup", distributed.new_group())
        _share(pl_module, self._group)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Take the processes away from the layers."""
        _share(pl_module, None)
        if self._group is not None:
            distributed.destroy_process_group(self._group)
            self._group = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Take the processes, of which some may be waiting still, away from the layers."""
        _share(pl_module, None)


def _share(pl_module: LightningModule, group: distributed.ProcessGroup | None) -> None:
    for module in pl_module.modules():
        if isinstance(module, SLLLinear):
            module.group = group
