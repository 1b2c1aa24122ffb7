"""A callback that measures the processor time of training steps."""

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer


class Clock(Callback):
    """Logs ``minutes``, the processor time of all training steps so far, with their data and all callbacks, without validation.

    It goes on from a checkpoint.

    Attributes:
        seconds: Time of all steps so far.
        steps: The time of each step of this process.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.steps: list[float] = []

    def on_train_start(self, *_: Any) -> None:
        """Note the time: a training that is resumed within an epoch does not start one."""
        self._last = time.process_time()

    def on_train_epoch_start(self, *_: Any) -> None:
        """Note the time."""
        self._last = time.process_time()

    def on_train_batch_end(self, *_: Any) -> None:
        """Add a step: from the end of the one before it."""
        now = time.process_time()
        self.steps.append(now - self._last)
        self.seconds += self.steps[-1]
        self._last = now

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Log the minutes."""
        pl_module.log("minutes", self.seconds / 60)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.seconds = state_dict["seconds"]
