"""The report of a training: its figures as JSON, and its curves as a picture."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from sll_zoo.files import atomic_write, json_number
from sll_zoo.reports.plot import plot_training


class TrainingReport(Callback):
    """When training ends, well or not, write ``metrics.json`` and ``curves.png``.

    ``metrics.json`` has the logged values in ``history``, a row for each epoch, and the last row as ``final``. ``epoch_seconds``
    is the time since the row before. Checkpoints keep the history, so that a resumed training has all of it. Nothing is written
    in a ``fast_dev_run``.

    Args:
        folder: Folder of the two files; by default the logger's, and without a logger nothing is written.

    Attributes:
        written: The two paths; empty until they are written.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder
        self.written = ""
        self._history: list[dict[str, float]] = []
        self._validated = False
        self._rate = self._start = 0.0
        self._path: Path | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Choose the folder, on all processes, since reading ``log_dir`` takes all of them."""
        folder = self.folder or (trainer.log_dir if trainer.loggers else None)
        self._path = Path(folder) if folder else None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Note the time."""
        self._start = time.perf_counter()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:  # noqa: ARG002
        """Keep the learning rate of the step: at the end of the epoch the optimizer already has that of the next step."""
        self._rate = max(group["lr"] for group in optimizer.param_groups)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Note that this epoch was validated, so that its values go into the next row."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Add a row, on every process, since reading the metrics may take all of them."""
        row: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        for name, value in trainer.callback_metrics.items():
            if self._validated or not name.startswith("val/"):
                row[name] = float(value)
        now = time.perf_counter()
        row |= {"train/lr": self._rate, "epoch_seconds": now - self._start}
        self._start = now
        self._history.append(row)
        self._validated = False

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the report."""
        self._write(trainer, pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Write the report of the epochs so far."""
        self._write(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """Return the history, for a checkpoint."""
        return {"history": self._history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the history of a checkpoint."""
        self._history = list(state_dict["history"])

    def _write(self, trainer: Trainer, pl_module: LightningModule) -> None:
        unwanted = getattr(trainer, "fast_dev_run", False) or not trainer.is_global_zero
        if unwanted or not self._path or not self._history:
            return
        rows = [{name: json_number(value) for name, value in row.items()} for row in self._history]
        metrics, curves = self._path / "metrics.json", self._path / "curves.png"
        with atomic_write(metrics) as temporary:
            temporary.write_text(json.dumps({"final": rows[-1], "history": rows}, indent=1) + "\n", "utf-8")
        plot_training(self._history, _title(pl_module.hparams), curves)
        self.written = f"{metrics} and {curves}"


def _title(hparams: Mapping[str, Any]) -> str:
    return str(hparams.get("name") or "training")
