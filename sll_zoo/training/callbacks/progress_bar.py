"""Lightning's progress bar, counting images."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import TaskID

from sll_zoo.reports.progress import ImageRate


class ImageProgressBar(RichProgressBar):
    """``RichProgressBar`` with images a second, of all processes together, in place of batches a second; same arguments."""

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Return Lightning's columns, the last of which is the rate."""
        return [*super().configure_columns(trainer)[:-1], ImageRate()]

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count a batch."""
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._count(self.train_progress_bar_id, trainer, batch)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *index: int
    ) -> None:
        """Count a batch."""
        super().on_validation_batch_end(trainer, pl_module, outputs, batch, *index)
        self._count(self.val_progress_bar_id, trainer, batch)

    def on_test_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *index: int) -> None:
        """Count a batch."""
        super().on_test_batch_end(trainer, pl_module, outputs, batch, *index)
        self._count(self.test_progress_bar_id, trainer, batch)

    def on_predict_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *index: int) -> None:
        """Count a batch."""
        super().on_predict_batch_end(trainer, pl_module, outputs, batch, *index)
        self._count(self.predict_progress_bar_id, trainer, batch)

    def _count(self, task: TaskID | None, trainer: Trainer, batch: Any) -> None:
        """Tell the bar how many images all processes have in a step."""
        if self.progress is not None and task is not None:
            # The largest batch size counts: only the last batch of an epoch is smaller.
            images = max(self.progress.tasks[task].fields.get("images", 0), trainer.world_size * len(batch[1]))
            self.progress.update(task, images=images)
