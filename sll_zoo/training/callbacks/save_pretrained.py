"""Measuring a trained network and saving it as a folder for the Hub."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from torch.utils.data import DataLoader

from sll_zoo.certificates.attacking import attack
from sll_zoo.certificates.evaluation import Evaluation, evaluate
from sll_zoo.data import ImageData, fingerprint
from sll_zoo.data.images import evenly_spaced
from sll_zoo.environment import commit, describe_device, versions_of
from sll_zoo.errors import ConfigError
from sll_zoo.files import obstacle
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.nearest import NearestNeighbour
from sll_zoo.reports.attack import name_of
from sll_zoo.training.callbacks.grow import Grow, datamodule_of
from sll_zoo.training.callbacks.repeats import read_repeats
from sll_zoo.training.strategies import require_whole_network
from sll_zoo.zoo.entries import recipe
from sll_zoo.zoo.folder import require_not_shipped
from sll_zoo.zoo.publishing.recording import measurement
from sll_zoo.zoo.publishing.save import save_pretrained
from sll_zoo.zoo.records.card import describe
from sll_zoo.zoo.records.data_source import source_of
from sll_zoo.zoo.records.record import Accuracies, GrowthStage, Measurement, Training
from sll_zoo.zoo.weights.packing import quantize, require_bits, require_quantizable

PACKAGES = ("sll_zoo", "torch", "lightning", "timm")
# Steps and restarts of the attack by PGD.
STEPS, RESTARTS = 100, 5


class SavePretrained(Callback):
    """When training has ended, certify the network on the held-out images and save it as a folder for the Hub.

    Nothing is written in a ``fast_dev_run`` or after an interruption.

    Args:
        folder: The folder to write, such as ``outputs/architecture.tag``; ``sll-zoo ship`` takes it from there into a checkout.
        baseline: Whether to measure the nearest-neighbour margin classifier as well; for data sets that fit in memory.
        attacked: How many of the held-out images, evenly spaced, to attack by PGD of 100 steps and 5 restarts.
        bits: Bits of a weight; below 32, the network that :func:`~sll_zoo.quantize` returns is measured and saved.
        repeats: Folders that the same training was saved to before with other seeds, whose accuracies are recorded as well.

    Attributes:
        written: The folder and its record in one line; empty until it is written.
    """

    def __init__(
        self, folder: str, baseline: bool = False, attacked: int = 0, bits: int = 32, repeats: Sequence[str] = ()
    ) -> None:
        require_bits(bits)
        require_not_shipped(Path(folder))
        self.folder = Path(folder)
        self.baseline = baseline
        self.attacked = attacked
        self.bits = bits
        self.repeats = [Path(folder) for folder in repeats]
        self.written = ""
        self._start, self._seconds_before = time.perf_counter(), 0.0
        self._images: int | None = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds trained and the images seen so far, for a training that goes on from a checkpoint."""
        return {"seconds": self._seconds(), "images": self._images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the seconds trained and the images seen before."""
        self._seconds_before = state_dict["seconds"]
        self._images = state_dict.get("images")  # older checkpoints have no number of images

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, before any work, that the network can be saved, that there are images to measure it on, and the folder."""
        require_whole_network(trainer, self)
        _require_saveable(cast("LipschitzClassifier", pl_module.model), self.bits)
        data = datamodule_of(trainer)
        if data is None or not hasattr(data, "name") or not hasattr(data, "class_names"):
            raise ConfigError(
                f"SavePretrained with data module {data!r}", "fit with one that has name, class_names and test images"
            )
        problem = obstacle(self.folder) if trainer.is_global_zero else ""
        if problem := trainer.strategy.broadcast(problem):
            raise ConfigError(problem, "name a folder to save to that can be written to (folder of SavePretrained)")
        self._repeats = self._read_repeats(trainer, data) if self.repeats else {}
        self._start = time.perf_counter()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Count the images of all processes, which have equal shares of a batch."""
        if self._images is not None:
            self._images += len(batch[0]) * trainer.world_size

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the network and save it, on one process."""
        if getattr(trainer, "fast_dev_run", False) or trainer.interrupted:
            return
        if not trainer.is_global_zero:
            return
        model, device = cast("LipschitzClassifier", pl_module.model), trainer.strategy.root_device
        training_yaml, data = _training_yaml(trainer), datamodule_of(trainer)
        training = Training(
            command="sll-zoo fit --config training.yaml" if training_yaml else None,
            start=getattr(pl_module, "start", None),
            seeds=(torch.initial_seed(), *self._repeats),
            epochs=trainer.current_epoch,
            images=self._images,
            seconds=self._seconds(),
            stages=_stages(trainer),
            device=describe_device(device),
            commit=commit(),
            versions=versions_of(PACKAGES),
            fingerprint=data.fingerprint("train") if isinstance(data, ImageData) else None,
        )
        data.setup("test")
        if self.bits < 32:
            model = quantize(model, self.bits)
        if device.type == "cuda":  # Lightning has moved the network to the CPU
            model.to(device)
        curves = {"this network": evaluate(model, _all(data.test_dataloader()))}
        if self.baseline:
            curves["nearest-neighbour margin"] = _baseline(data, model)
        measured = self._measurement(model, data, *curves.values())
        record = save_pretrained(
            model.cpu(),
            self.folder,
            label_names=data.class_names,
            measured=measured,
            curves=curves,
            training=training,
            training_yaml=training_yaml,
            bits=self.bits,
        )
        self.written = f"{self.folder}: {describe(record)}"

    def _seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._start

    def _measurement(
        self, model: LipschitzClassifier, data: Any, evaluation: Evaluation, baseline: Evaluation | None = None
    ) -> Measurement:
        attacked = None
        if self.attacked:
            places = evenly_spaced(evaluation.n, self.attacked)
            images, labels = (torch.cat(parts)[places] for parts in zip(*_all(data.test_dataloader()), strict=True))
            attacked = attack(model, images, labels, list(evaluation.counts), steps=STEPS, restarts=RESTARTS)
        found = fingerprint(_all(data.test_dataloader()))
        method = name_of("pgd", STEPS, RESTARTS)
        return measurement(
            evaluation,
            data.name,
            found,
            source=source_of(data) if isinstance(data, ImageData) else None,
            preparation=getattr(data, "preparation", ""),
            division=getattr(data, "division", ""),
            baseline=baseline,
            attacked=attacked,
            method=method,
            repeats=list(self._repeats.values()),
        )

    def _read_repeats(self, trainer: Trainer, data: Any) -> dict[int, Accuracies]:
        if not (training_yaml := _training_yaml(trainer)):
            raise ConfigError("repeats of a training from Python", "train by the command line, which writes training.yaml")
        data.setup("test")
        found = fingerprint(_all(data.test_dataloader()))
        return read_repeats(self.repeats, training_yaml, torch.initial_seed(), found)


def _require_saveable(model: LipschitzClassifier, bits: int) -> None:
    if recipe(model) is None:
        raise ConfigError(
            "SavePretrained of a network that create_model did not build", "leave it out, or train one that it builds"
        )
    model.require_structure()
    if bits < 32:
        require_quantizable(model, bits)


def _training_yaml(trainer: Trainer) -> str:
    """Return the configuration of the command line; an empty text for a training from Python."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        if isinstance(callback, SaveConfigCallback):
            config = callback.config.clone()
            config.pop("ckpt_path", None)  # a repetition starts from the beginning
            callbacks = config.trainer.callbacks
            for given in callbacks if isinstance(callbacks, list) else [callbacks]:
                if given.class_path.endswith(".SavePretrained"):
                    given.init_args.repeats = []  # the folders of other seeds are on this machine only
            return str(callback.parser.dump(config, skip_none=False))
    return ""


def _stages(trainer: Trainer) -> tuple[GrowthStage, ...]:
    """Return the stages of a network that grew; none if it kept its shape."""
    growing = (callback for callback in trainer.callbacks if isinstance(callback, Grow))  # type: ignore[attr-defined]
    return next((callback.trained() for callback in growing), ())


def _baseline(data: Any, model: LipschitzClassifier) -> Evaluation:
    images, labels = data.tensors("train")  # not by the training loader, which leaves out the last batch
    return evaluate(NearestNeighbour(images, labels, model.num_classes, model.norm), _all(data.test_dataloader()))


def _all(loader: DataLoader[Any]) -> DataLoader[Any]:
    """Return a loader of all images, in place of one that may give one process's share only."""
    return DataLoader(loader.dataset, batch_size=loader.batch_size)
