"""A model's folder as the Hub holds it: read and checked once, then loaded, published, quantised, shipped or recorded."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from timm.models import PretrainedCfg

from sll_zoo.errors import ConfigError, WeightsError
from sll_zoo.files import atomic_write, obstacle, write_json
from sll_zoo.functional.norms import NORMS
from sll_zoo.zoo.records.card import CARD_FILE, CURVE_FILE, TRAINING_FILE, refresh_tables, render_card
from sll_zoo.zoo.records.record import Record, from_dict, to_dict, write_record
from sll_zoo.zoo.weights.hub import Repository, kept_unless_refused
from sll_zoo.zoo.weights.reading import CONFIG_FILE, SAVE_AGAIN, require_file
from sll_zoo.zoo.weights.shards import INDEX_FILE, remove_others, weights_files

# One folder for each architecture.tag, as the Hub holds it: beside the package in a checkout, inside it in a wheel.
CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
INSTALLED = Path(__file__).parents[1] / "checkpoints"
# Files that a folder need not have.
OPTIONAL = (CARD_FILE, CURVE_FILE, TRAINING_FILE)
LARGEST_CONFIG = 10_000_000  # bytes


@dataclass(frozen=True)
class ModelFolder:
    """A folder with weights: what its config.json says, and where its files are.

    Attributes:
        path: The folder; for a repository, that of its revision in the Hub's cache.
        config: The content of config.json without the record.
        record: The record of the weights; None where config.json has none.
        repository: The repository that the other files are downloaded from; None for a folder of this machine.
    """

    path: Path
    config: dict[str, Any]
    record: Record | None
    repository: Repository | None = None

    @classmethod
    def read(cls, path: Path) -> ModelFolder:
        """Return the folder at a path.

        Raises:
            WeightsError: Its config.json does not exist, does not describe a model, or has an invalid record.
        """
        config = _read_config(require_file(path / CONFIG_FILE))
        try:
            record = from_dict(config.pop("certified")) if "certified" in config else None
        except msgspec.ValidationError as error:
            raise WeightsError(f"{path / CONFIG_FILE} states a record that is none ({error})", SAVE_AGAIN) from error
        return cls(path, config, record)

    @classmethod
    def at(cls, place: Path | Repository) -> ModelFolder:
        """Return the folder at a path or in a repository, of which only config.json is downloaded.

        A config.json that is refused is removed from the Hub's cache.

        Raises:
            WeightsError: As for :meth:`read`, or config.json cannot be downloaded.
        """
        if isinstance(place, Path):
            return cls.read(place)
        config = place.download(CONFIG_FILE, LARGEST_CONFIG)
        with kept_unless_refused([config]):
            return replace(cls.read(config.parent), repository=place)

    @cached_property
    def weights(self) -> tuple[Path, ...]:
        """The files of weights, in order; WeightsError if one does not exist or cannot be downloaded."""
        if self.repository:
            size = self.record.size if self.record else None
            return tuple(self.repository.download(name, size) for name in weights_files(self.record))
        return tuple(require_file(self.path / name) for name in weights_files(self.record))

    @property
    def training_yaml(self) -> str:
        """The configuration of the training, empty if there is none."""
        path = self._optional(TRAINING_FILE)
        return path.read_text("utf-8") if path else ""

    def known(self) -> Record:
        """Return the record, and raise WeightsError if there is none."""
        if self.record is None:
            raise WeightsError(f"{self.path} has no record of its weights", SAVE_AGAIN)
        return self.record

    def copy(self, to: Path) -> ModelFolder:
        """Copy the files to the folder ``to``, remove another model's files there, and return the copy.

        Raises:
            WeightsError: A file does not exist or cannot be downloaded, or ``to`` cannot be written to; nothing is copied.
        """
        require_writable(to)
        optional = [path for path in map(self._optional, OPTIONAL) if path]
        # The configuration, without which nothing loads, comes last.
        files = [*self.weights, *self._index(), *optional, self.path / CONFIG_FILE]
        for path in files:
            with atomic_write(to / path.name) as temporary:
                shutil.copyfile(path, temporary)
        remove_stale(to, [path.name for path in files])
        return replace(self, path=to, repository=None)

    def write_card(self, load_name: str) -> None:
        """Write README.md, for weights that ``create_model`` loads by ``load_name``."""
        files = [path.name for path in self.path.iterdir()]
        with atomic_write(self.path / CARD_FILE) as temporary:
            temporary.write_text(render_card(self.known(), self.config, load_name, files), "utf-8")

    def write(self, load_name: str = "local-dir:.") -> None:
        """Write README.md and config.json beside weights that are already in the folder."""
        self.write_card(load_name)
        with atomic_write(self.path / CONFIG_FILE) as temporary:  # last: without it, nothing else is looked at
            write_json(temporary, self.config | {"certified": to_dict(self.known())})

    def write_shipped(self) -> None:
        """Write README.md and config.json of a folder that the checkout ships, with the zoo's record and the tables."""
        write_record(self.known())
        refresh_tables(CHECKPOINTS.parent)
        self.write(self.known().name)

    @property
    def is_shipped(self) -> bool:
        """Whether the folder is the one in ``checkpoints/`` of a checkout that has the name of its record."""
        return self.record is not None and self.path.resolve() == (CHECKPOINTS / self.record.name).resolve()

    def _index(self) -> list[Path]:
        """Return the path of the index that several files of weights have, as a list; for a single file an empty list."""
        if len(self.weights) == 1:
            return []
        return [self.repository.download(INDEX_FILE) if self.repository else require_file(self.path / INDEX_FILE)]

    def _optional(self, name: str) -> Path | None:
        if self.repository:
            return self.repository.download_if_there(name)
        path = self.path / name
        return path if path.exists() else None


def _read_config(path: Path) -> dict[str, Any]:
    """Return the content of a model's config.json; all of it is checked except the record."""
    try:
        config: dict[str, Any] = json.loads(path.read_text("utf-8"))
        cfg = PretrainedCfg(**config["pretrained_cfg"])
        named, args, num_classes = config["architecture"], config.get("model_args", {}), config["num_classes"]
        well_formed = all(map(isinstance, (named, args, num_classes, cfg.tag), (str, dict, int, str | None)))
        well_formed &= (
            config.get("norm", "2") in NORMS and len(cfg.input_size) == 3 and args.get("num_classes", num_classes) == num_classes
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        well_formed = False
    if not well_formed:
        raise WeightsError(f"{path} is no model's config.json", SAVE_AGAIN)
    return config


def shipped_folder(name: str) -> Path | None:
    """Return the folder that a checkout or else an installed wheel has for an ``architecture.tag``; None if neither has one."""
    return next((place / name for place in (CHECKPOINTS, INSTALLED) if (place / name / CONFIG_FILE).exists()), None)


def shipped_files(record: Record) -> tuple[Path, ...]:
    """Return the files of weights that the zoo ships, if all of them are on this machine; else an empty tuple."""
    folder = shipped_folder(record.name)
    paths = tuple(folder / name for name in weights_files(record)) if folder else ()
    return paths if all(path.exists() for path in paths) else ()


def remove_stale(folder: Path, kept: list[str]) -> None:
    """Remove the files that another model has left in a folder, but keep those with the given names."""
    remove_others(folder, kept)
    for name in {CURVE_FILE, TRAINING_FILE} - set(kept):
        (folder / name).unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Raise WeightsError for a folder that cannot be made or written to."""
    if problem := obstacle(folder):
        raise WeightsError(problem, "name a folder")


def require_not_shipped(folder: Path) -> None:
    """Raise ConfigError for a folder in ``checkpoints/``, which is for shipped weights: nothing is saved there directly."""
    if folder.resolve().parent == CHECKPOINTS.resolve():
        raise ConfigError(
            f"{folder} is kept for weights that are shipped",
            f"save to outputs/{folder.name}, and `sll-zoo ship outputs/{folder.name}` checks that and puts it there",
        )
