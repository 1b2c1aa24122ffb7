"""Shipping weights with a checkout: a saved folder is checked, copied to ``checkpoints/``, and entered in records and tables."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from msgspec.structs import replace

from sll_zoo.certificates.evaluation import Evaluation, evaluate
from sll_zoo.data import HeldOut
from sll_zoo.errors import ConfigError, PublishError, UnknownNameError
from sll_zoo.models import LipschitzClassifier
from sll_zoo.reports.words import percent
from sll_zoo.zoo.entries import TAGS
from sll_zoo.zoo.factory import create_model, load
from sll_zoo.zoo.folder import CHECKPOINTS, ModelFolder
from sll_zoo.zoo.publishing.publish import Progress, check_publishable
from sll_zoo.zoo.publishing.recertify import recorded_images
from sll_zoo.zoo.publishing.recording import accuracies, today
from sll_zoo.zoo.publishing.results import remove_results, write_results
from sll_zoo.zoo.records.record import Accuracies, Measurement, Record
from sll_zoo.zoo.weights.reading import read_weights
from sll_zoo.zoo.weights.shards import LARGEST_SHIPPED, serialize, write_weights


@dataclass(frozen=True)
class Shipped:
    """What a checkout ships from now on.

    Attributes:
        folder: The folder of the weights, ``checkpoints/architecture.tag``.
        record: The record of the weights.
        warning: What could not be checked; empty if everything was.
    """

    folder: Path
    record: Record
    warning: str


def ship(folder: Path, progress: Progress = iter) -> Shipped:
    """Check saved weights and copy them into ``checkpoints/``, with the zoo's record and the tables made from the records.

    Every image of the record is certified again, on the CPU, where the images are on this machine: the accuracies must be those
    of the record, and ``samples.csv`` and ``images.png`` show the result (:mod:`~sll_zoo.zoo.publishing.results`).
    ``create_model(name, pretrained=True)`` loads them from then on. They are divided into files that git hosts accept. Shipping a
    folder of ``checkpoints/`` writes its card, record and tables again.

    Args:
        folder: A folder that :class:`~sll_zoo.training.callbacks.SavePretrained` or ``sll-zoo quantize`` wrote; it is unchanged.
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
    read = ModelFolder.read(folder)
    measured = read.record.measured if read.record else None
    if read.record is None or measured is None:
        raise PublishError(f"nobody has measured the weights in {folder}", "save them with `sll-zoo fit` or `sll-zoo quantize`")
    model = load(read).eval()
    _require_named(read.record.name, model)
    warning = check_publishable(model, read.record, progress)
    if warning:
        shipped = _divided(read.copy(CHECKPOINTS / read.record.name))
        remove_results(shipped.path)
    else:
        evaluation, held_out = _measured_again(model, measured)
        shipped = _divided(_dated(read, measured).copy(CHECKPOINTS / read.record.name))
        write_results(shipped.path, evaluation, held_out.image)
    shipped.write_shipped()
    return Shipped(shipped.path, shipped.known(), warning)


def _require_named(name: str, model: LipschitzClassifier) -> None:
    """Raise unless ``create_model(name)`` is the network that is to be shipped under this name."""
    architecture, _, tag = name.partition(".")
    if tag not in TAGS.get(architecture, ()):
        raise UnknownNameError(f"no model {name!r} to ship weights of", "add the name to TAGS of sll_zoo/zoo/entries.py")
    with torch.device("meta"):
        named = create_model(name)
    if named.config != model.config:
        raise PublishError(f"the network is not create_model({name!r}): {model.config}", "train that one, or publish this one")


def _divided(folder: ModelFolder) -> ModelFolder:
    """Divide the weights of a folder into files that git hosts accept, and return the folder with their record."""
    record = folder.known()
    if record.size <= LARGEST_SHIPPED:
        return folder
    # Sorted, so that the order does not depend on how the weights were divided before.
    state = dict(sorted(read_weights(folder.weights, record).items()))
    files, about = serialize(state, record.bits, LARGEST_SHIPPED)
    write_weights(folder.path, files)
    return dataclasses.replace(folder, record=replace(record, **about))


def _measured_again(model: LipschitzClassifier, measured: Measurement) -> tuple[Evaluation, HeldOut]:
    """Certify all images again, and raise PublishError unless the accuracies are those of the record."""
    held_out = recorded_images(measured, model)
    evaluation = evaluate(model, held_out.batches(), [row.eps for row in measured.accuracy.certified], measured.sound)
    found, recorded = accuracies(evaluation), measured.accuracy
    if (found.clean, found.certified) != (recorded.clean, recorded.certified):
        raise PublishError(
            f"the network has {_in_words(found)} of {held_out.name}, the record says {_in_words(recorded)}",
            "measure the weights again",
        )
    return evaluation, held_out


def _dated(folder: ModelFolder, measured: Measurement) -> ModelFolder:
    """Return a folder whose record states a day: an older one has none, and gets that of this measurement."""
    dated = replace(measured, date=measured.date or today())
    return dataclasses.replace(folder, record=replace(folder.known(), measured=dated))


def _in_words(found: Accuracies) -> str:
    return ", ".join(percent(fraction) for fraction in (found.clean, *(row.accuracy for row in found.certified)))
