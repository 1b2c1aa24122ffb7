"""Shipping weights with a checkout: what was exported, checked as for publishing, with the zoo's own record and tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from msgspec.structs import replace

from sll_zoo.errors import ConfigError, PublishError, UnknownNameError
from sll_zoo.models import LipschitzClassifier
from sll_zoo.zoo import create_model, pull
from sll_zoo.zoo.entries import TAGS
from sll_zoo.zoo.folder import describe_folder
from sll_zoo.zoo.publishing.publish import Progress, check_publishable
from sll_zoo.zoo.records.record import Record
from sll_zoo.zoo.weights.loading import CHECKPOINTS
from sll_zoo.zoo.weights.reading import CONFIG_FILE, read_config, read_weights, stated_record
from sll_zoo.zoo.weights.shards import LARGEST_SHIPPED, weights_files, write_weights


@dataclass(frozen=True)
class Shipped:
    """What a checkout ships from now on.

    Attributes:
        folder: That holds it, ``checkpoints/architecture.tag``.
        record: Of the weights.
        warning: What could not be checked; empty if everything was.
    """

    folder: Path
    record: Record
    warning: str


def ship(folder: Path, progress: Progress = iter) -> Shipped:
    """Check exported weights and copy them into ``checkpoints/``, with the zoo's record and the tables made from the records.

    ``create_model(name, pretrained=True)`` loads them from then on. They are divided into files that git hosts take. Shipping a
    folder of ``checkpoints/`` makes its card, record and tables anew.

    Args:
        folder: That :class:`~sll_zoo.training.callbacks.SavePretrained` or ``sll-zoo quantize`` wrote; it stays as it is.
        progress: Wraps the list of layers that are audited, such as ``rich.progress.track``.

    Raises:
        ConfigError: The package does not run in a checkout.
        WeightsError: The folder holds no weights, or damaged ones.
        UnknownNameError: The zoo has no such name.
        PublishError: The weights fail a check of :func:`~sll_zoo.publish`, are those of another network than their name says, or
            were not measured.
    """
    if not (CHECKPOINTS / "README.md").is_file():
        raise ConfigError(f"{CHECKPOINTS} does not exist", "ship from a checkout of this repository: pip install -e .")
    config = read_config(folder / CONFIG_FILE)
    record = stated_record(config)
    if record is None or record.measured is None:
        raise PublishError(f"nobody has measured the weights in {folder}", "export them with `sll-zoo fit` or `sll-zoo quantize`")
    model = create_model(f"local-dir:{folder}", pretrained=True).eval()
    _require_named(record.name, model)
    warning = check_publishable(model, folder, record, progress)
    shipped = pull(f"local-dir:{folder}", CHECKPOINTS / record.name)
    record = _divided(shipped, record)
    describe_folder(shipped, record, config)
    return Shipped(shipped, record, warning)


def _require_named(name: str, model: LipschitzClassifier) -> None:
    """Raise unless ``create_model(name)`` is the network that is to be shipped under this name."""
    architecture, _, tag = name.partition(".")
    if tag not in TAGS.get(architecture, ()):
        raise UnknownNameError(f"no model {name!r} to ship weights of", "add the name to TAGS of sll_zoo/zoo/entries.py")
    with torch.device("meta"):
        named = create_model(name)
    if named.config != model.config:
        raise PublishError(f"the network is not create_model({name!r}): {model.config}", "train that one, or publish this one")


def _divided(folder: Path, record: Record) -> Record:
    """Divide the weights of a folder into files that git hosts take, and return their record."""
    if record.size <= LARGEST_SHIPPED:
        return record
    state = read_weights([folder / name for name in weights_files(record)], record)
    # In an order that does not depend on how they were divided before.
    return replace(record, **write_weights(folder, dict(sorted(state.items())), record.bits, LARGEST_SHIPPED))
