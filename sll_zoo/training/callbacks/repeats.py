"""Trainings that differ only in their seed, and are recorded together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sll_zoo.errors import ConfigError
from sll_zoo.training.checkpoint_files import defining, difference
from sll_zoo.zoo.folder import ModelFolder
from sll_zoo.zoo.records.card import TRAINING_FILE
from sll_zoo.zoo.records.record import Accuracies


def read_repeats(folders: Sequence[Path], training_yaml: str, seed: int, fingerprint: str) -> dict[int, Accuracies]:
    """Return the accuracies that the same training reached with other seeds, by seed, from the folders that it was saved to.

    Args:
        folders: Folders, each of a training by the command line.
        training_yaml: The configuration of the training that they repeat.
        seed: Seed of that training.
        fingerprint: Hash of the images that it will be measured on.

    Raises:
        WeightsError: A folder without a model.
        ConfigError: A folder of another training, of the same seed, or that was measured on other images or not at all.
    """
    reached: dict[int, Accuracies] = {}
    own = _without_seed(training_yaml)
    for folder in folders:
        record, path = ModelFolder.read(folder).record, folder / TRAINING_FILE
        if not record or not record.measured or not record.training or not record.training.seeds or not path.is_file():
            raise ConfigError(f"{folder} holds no training by the command line that was measured", "leave it out of repeats")
        repeated = record.training.seeds[0]
        other = difference(_without_seed(path.read_text("utf-8")), own)
        if not other and record.measured.fingerprint != fingerprint:
            other = "other test images"
        if not other and repeated in (seed, *reached):
            other = f"the seed {repeated}, as another of them"
        if other:
            raise ConfigError(
                f"{folder} is no repeat of this training: it has {other}", "train it with another seed, and nothing else"
            )
        reached[repeated] = record.measured.accuracy
    return reached


def _without_seed(training_yaml: str) -> dict[str, Any]:
    """Return the options that define a training, and those of its callbacks that may change the weights, without the seed."""
    options = yaml.safe_load(training_yaml)
    given = options["trainer"].get("callbacks") or []
    callbacks = {}
    for callback in given if isinstance(given, list) else [given]:
        kind, arguments = callback["class_path"], callback.get("init_args") or {}
        kept = {"bits"} if kind.endswith(".SavePretrained") else arguments.keys() - {"folder"}
        callbacks[kind] = {name: arguments[name] for name in sorted(kept) if name in arguments}
    return {**defining(options), "callbacks": callbacks, "seed_everything": None}
