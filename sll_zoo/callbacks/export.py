"""The trained network, measured and written as the Hub holds it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer

from sll_zoo.errors import ConfigError
from sll_zoo.evaluation import Evaluation, evaluate
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.nearest import NearestNeighbour
from sll_zoo.zoo.card import describe
from sll_zoo.zoo.export import export_model


class ExportModel(Callback):
    """When training has ended, certify the network on the held-out images and write it as the Hub holds it.

    Nothing is written in a ``fast_dev_run`` or after an interruption.

    Args:
        folder: Where to, ``checkpoints/architecture.tag`` for weights that the zoo ships.
        config: The configuration file that trains these weights, for the card.
        baseline: Whether to measure the nearest-neighbour margin classifier beside it; for data sets that fit in memory.

    Attributes:
        written: The folder and what is in it, in one line; empty before.
    """

    def __init__(self, folder: str, config: str, baseline: bool = False) -> None:
        self.folder = Path(folder)
        self.config = config
        self.baseline = baseline
        self.written = ""

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, before any work, that there will be something to measure on and somewhere to write."""
        data, model = _datamodule(trainer), cast("LipschitzClassifier", pl_module.model)
        if data is None or not hasattr(data, "name") or not hasattr(data, "class_names"):
            raise ConfigError(f"ExportModel with data module {data!r}", "fit with one that has name, class_names and test images")
        if len(data.class_names) != model.num_classes:
            raise ConfigError(f"{model.num_classes} logits for {len(data.class_names)} classes of {data.name}", "make them agree")
        if self.folder.exists() and not self.folder.is_dir():
            raise ConfigError(f"{self.folder} is not a folder", "name a folder to export to")
        self._start = time.perf_counter()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure and write, on one process."""
        if getattr(trainer, "fast_dev_run", False) or trainer.interrupted or not trainer.is_global_zero:
            return
        seconds = time.perf_counter() - self._start
        data = _datamodule(trainer)
        data.setup("test")
        model = cast("LipschitzClassifier", pl_module.model)
        record = export_model(
            model,
            self.folder,
            dataset=data.name,
            evaluation=evaluate(model, data.test_dataloader()),
            baseline=_baseline(data, model.num_classes) if self.baseline else None,
            training={"config": self.config, "seed": torch.initial_seed(), "epochs": trainer.current_epoch, "seconds": seconds},
            label_names=data.class_names,
        )
        self.written = f"{self.folder}: {describe(record)}"


def _datamodule(trainer: Trainer) -> Any:
    """Return the data module, which Lightning attaches to its trainer without declaring it."""
    return getattr(trainer, "datamodule", None)


def _baseline(data: Any, num_classes: int) -> Evaluation:
    images, labels = data.tensors("train")  # the loader leaves the last batch out
    return evaluate(NearestNeighbour(images, labels, num_classes), data.test_dataloader())
