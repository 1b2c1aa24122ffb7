"""A callback that measures the processor time of training steps."""

import time
from typing import Any

from lightning import Callback, LightningModule, Trainer


class Clock(Callback):
    """Logs ``minutes``, the processor time of all training steps so far, without validation, over all runs of a training.

    Attributes:
        seconds: Time of all steps so far.
        steps: The time of each step of this process.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.steps: list[float] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """Note the time."""
        self._start = time.process_time()

    def on_train_batch_end(self, *_: Any) -> None:
        """Add a step."""
        self.steps.append(time.process_time() - self._start)
        self.seconds += self.steps[-1]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Log the minutes."""
        pl_module.log("minutes", self.seconds / 60)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.seconds = state_dict["seconds"]
