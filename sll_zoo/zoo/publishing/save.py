"""Saving a network as a folder for the Hub: config.json, model.safetensors, a card and a picture, from one record."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sll_zoo.certificates.evaluation import Evaluation
from sll_zoo.environment import versions_of
from sll_zoo.errors import PublishError, WeightsError
from sll_zoo.files import atomic_write
from sll_zoo.functional.finite import require_finite
from sll_zoo.models import LipschitzClassifier
from sll_zoo.reports.plot import plot_certified_accuracy
from sll_zoo.zoo.factory import load
from sll_zoo.zoo.folder import ModelFolder, remove_stale, require_not_shipped
from sll_zoo.zoo.records.card import CURVE_FILE, TRAINING_FILE
from sll_zoo.zoo.records.record import Measurement, Record, Training
from sll_zoo.zoo.weights.packing import pack, require_bits, unpack
from sll_zoo.zoo.weights.shards import LARGEST, serialize, write_weights

PACKAGES = ("sll_zoo", "torch", "timm", "numpy")


def save_pretrained(
    model: LipschitzClassifier,
    folder: Path,
    *,
    label_names: Sequence[str],
    measured: Measurement | None = None,
    curves: Mapping[str, Evaluation] | None = None,
    training: Training | None = None,
    training_yaml: str = "",
    origin: str | None = None,
    bits: int = 32,
) -> Record:
    """Save a network: write ``folder``, and return the record of what it holds.

    Args:
        model: The network, built by ``create_model``, whose name it keeps.
        folder: Where the files go; each is replaced whole, and files of another model there are removed.
        label_names: Names of the classes, in order.
        measured: Accuracies on held-out images, from :func:`~sll_zoo.zoo.publishing.recording.measurement`; None if not measured.
        curves: Evaluations to draw, by the name that the legend shows.
        training: How the training was done; None if it was not done by this package.
        training_yaml: The configuration of the command line.
        origin: A sentence on where the weights come from, if they were not trained here.
        bits: Bits of a stored weight. Storing loses nothing: below 32, the network must come from :func:`~sll_zoo.quantize`.

    Raises:
        ConfigError: Another number of bits than ``quantize`` takes, or a folder that :func:`require_not_shipped` refuses.
        WeightsError: Weights with NaN or infinity, or with more than these bits; nothing is written.
    """
    require_not_shipped(folder)
    weights, about = serialize(_packed(model, bits), bits, LARGEST)
    described: dict[str, Any] = vars(model)["pretrained_cfg"]  # set by timm's factory
    tag = re.sub(r"[^A-Za-z0-9]+", "_", measured.dataset).strip("_") if measured else described["tag"]
    record = Record(
        name=f"{described['architecture']}.{tag}",
        family=model.config.family,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        **about,
        bits=bits,
        origin=origin,
        training=training,
        measured=measured,
        versions=versions_of(PACKAGES),
    )
    write_weights(folder, weights)
    remove_stale(folder, [*weights, *([TRAINING_FILE] if training_yaml else []), *([CURVE_FILE] if curves and measured else [])])
    if training_yaml:
        with atomic_write(folder / TRAINING_FILE) as temporary:
            temporary.write_text(training_yaml, "utf-8")
    if curves and measured:
        plot_certified_accuracy(curves, f"{measured.dataset}: {measured.n:,} held-out images", folder / CURVE_FILE)
    ModelFolder(folder, _config(described, model, record, label_names), record).write()
    return record


def save_again(
    folder: ModelFolder,
    model: LipschitzClassifier,
    *,
    label_names: Sequence[str],
    measured: Measurement,
    curves: Mapping[str, Evaluation],
    bits: int,
) -> tuple[ModelFolder, LipschitzClassifier]:
    """Save a newly measured network to a folder, which keeps what it knows of training and origin, and :func:`read_back`.

    Args:
        folder: The folder; its files of weights, card and record are replaced.
        model: The network: the one in the folder, or the same with fewer bits.
        label_names: As for :func:`save_pretrained`.
        measured: As for :func:`save_pretrained`.
        curves: As for :func:`save_pretrained`.
        bits: As for :func:`save_pretrained`.

    Raises:
        ConfigError, WeightsError, PublishError: As for :func:`save_pretrained` and :func:`read_back`.
    """
    known = folder.record
    save_pretrained(
        model,
        folder.path,
        label_names=label_names,
        measured=measured,
        curves=curves,
        training=known.training if known else None,
        training_yaml=folder.training_yaml,
        origin=known.origin if known else None,
        bits=bits,
    )
    return read_back(folder.path, model)


def read_back(folder: Path, model: LipschitzClassifier) -> tuple[ModelFolder, LipschitzClassifier]:
    """Read the folder that a network was saved to, and return it with the network in it.

    Raises:
        PublishError: The network in the folder gives other logits.
    """
    saved = ModelFolder.read(folder)
    fresh = load(saved).eval()
    images = torch.rand(4, *model.config.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        if not torch.equal(model.float()(images), fresh(images)):
            raise PublishError("the file gives other logits than the network that it was made of", "save the network again")
    return saved, fresh


def _packed(model: LipschitzClassifier, bits: int) -> dict[str, Tensor]:
    """Return the packed tensors of a network, and raise WeightsError unless they unpack to the same bits."""
    require_bits(bits)
    # Weights are stored in float32 whatever the training ran in, since create_model builds float32.
    state = {key: value.detach().cpu().float().contiguous() for key, value in model.state_dict().items()}
    require_finite("the network", state, "lower the learning rate and train again")
    packed = pack(state, bits)
    if any(not torch.equal(value, state[key]) for key, value in unpack(packed, state, bits).items()):
        raise WeightsError(f"the weights have more than {bits} bits", f"save and measure quantize(model, bits={bits})")
    return packed


def _config(described: dict[str, Any], model: LipschitzClassifier, record: Record, label_names: Sequence[str]) -> dict[str, Any]:
    """Return the content of timm's config.json, with all arguments of the network."""
    kept = ("fixed_input_size", "interpolation", "crop_pct", "classifier", "license", "paper_ids")
    return {
        "architecture": described["architecture"],
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "norm": model.norm,
        "label_names": list(label_names),
        "model_args": asdict(model.config),
        "pretrained_cfg": {
            "tag": record.name.partition(".")[2],
            **{key: described[key] for key in kept},
            "num_classes": model.num_classes,
            "input_size": model.config.input_shape,
            "mean": [0.0] * model.in_chans,
            "std": [1.0] * model.in_chans,
        },
    }
