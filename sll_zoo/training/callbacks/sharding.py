"""The rescaling of dense layers, shared among the processes of a training instead of repeated by each."""

from __future__ import annotations

from typing import cast

from lightning import Callback, LightningModule, Trainer
from torch import distributed

from sll_zoo.training.products import change_products, restore_products
from sll_zoo.training.strategies import require_whole_network


class ShardRescaling(Callback):
    """Let each of N processes compute 1/N of the T of every dense SLL layer, and of its derivatives.

    T depends on the weights alone, which under DDP are the same everywhere. Weights and gradients are those of a training
    without this callback, but for rounding. Two vectors of a layer's inner size, the row sums of ``|WᵀW| q`` and the gradient by
    them, are summed over the processes in every pass; where that takes longer than what it saves, leave the callback out.

    Validation and certificates compute T whole, as do convolutions and the layers of other families and of ``power``
    above 1, whose T is made in another way. With one process nothing changes.

    In a configuration, ``class_path: sll_zoo.training.callbacks.ShardRescaling`` among ``trainer.callbacks``.

    Raises:
        ConfigError: Several processes under another strategy than DDP.
    """

    def __init__(self) -> None:
        self._group: distributed.ProcessGroup | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the layers the processes."""
        require_whole_network(trainer, self)
        if trainer.world_size == 1:
            return
        # A group of its own: DDP reduces gradients in the other while derivatives are being taken, and two processes that come to
        # a reduction of DDP's and to one of ours in different orders must not take one for the other.
        self._group = cast("distributed.ProcessGroup", distributed.new_group())
        change_products(pl_module, group=self._group)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Take the processes away from the layers."""
        restore_products(pl_module)
        if self._group is not None:
            distributed.destroy_process_group(self._group)
            self._group = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Take the processes, of which some may be waiting still, away from the layers."""
        restore_products(pl_module)
