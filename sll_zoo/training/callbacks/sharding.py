"""The rescaling of dense layers, shared among the processes of a training instead of repeated by each."""

from __future__ import annotations

from typing import cast

from lightning import Callback, LightningModule, Trainer
from torch import distributed

from sll_zoo.training.products import change_products, restore_products
from sll_zoo.training.strategies import require_whole_network


class ShardRescaling(Callback):
    """Let each of N processes compute about 1/N of the T of every dense SLL layer, and of its derivatives.

    T depends on the weights alone, which under DDP are the same everywhere. Weights and gradients are those of a training
    without this callback, except for rounding. Two vectors of a layer's inner size, the row sums ``|WᵀW| q`` and their gradient,
    are summed over the processes in every step; where that takes longer than it saves, leave the callback out.

    Validation and certificates compute T whole, and so do convolutions and layers of other families or of ``power`` above 1,
    whose T has another formula. With one process nothing changes.

    In a configuration, ``class_path: sll_zoo.training.callbacks.ShardRescaling`` among ``trainer.callbacks``.

    Raises:
        ConfigError: A strategy other than DDP or a single device.
    """

    def __init__(self) -> None:
        self._group: distributed.ProcessGroup | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the layers share their T among the processes."""
        require_whole_network(trainer, self)
        if trainer.world_size == 1:
            return
        # This group is separate from DDP's, which reduces gradients during the backward pass: two processes that reach one of
        # DDP's reductions and one of ours in different orders must not mix them up.
        self._group = cast("distributed.ProcessGroup", distributed.new_group())
        self.on_growth(pl_module)

    def on_growth(self, pl_module: LightningModule) -> None:
        """Let the layers of a network that has grown share their T, too."""
        if self._group is not None:
            change_products(pl_module, group=self._group)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Let each process compute T whole again."""
        restore_products(pl_module)
        if self._group is not None:
            distributed.destroy_process_group(self._group)
            self._group = None

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Let each process compute T whole again; the group stays, since other processes may be waiting in it."""
        restore_products(pl_module)
