"""Lightning's strategies, as far as a callback depends on them."""

from __future__ import annotations

from lightning import Callback, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from sll_zoo.errors import ConfigError


def require_whole_network(trainer: Trainer, callback: Callback) -> None:
    """Refuse a strategy under which a process may have a part of the weights and gradients, for a callback that reads them all.

    Raises:
        ConfigError: Another strategy than DDP, for several processes, or that of a single device.
    """
    if not isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy):
        raise ConfigError(
            f"{type(callback).__name__} with {type(trainer.strategy).__name__}",
            "train with strategy ddp, or from Python without the callback",
        )
