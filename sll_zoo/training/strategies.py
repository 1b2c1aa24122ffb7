"""Refusing strategies of Lightning that divide a network among processes."""

from __future__ import annotations

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from sll_zoo.errors import ConfigError

WITHOUT = "train with strategy ddp, or from Python without the callback"


def require_whole_network(trainer: Trainer, user: Callback | LightningModule, remedy: str = WITHOUT) -> None:
    """Refuse a strategy under which a process may have only a part of the weights and gradients, if ``user`` reads them all.

    Raises:
        ConfigError: A strategy other than DDP or a single device.
    """
    if not isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy):
        raise ConfigError(f"{type(user).__name__} with {type(trainer.strategy).__name__}", remedy)
