"""Writing a trained network as the Hub holds it: config.json, model.safetensors and a card, from one record."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import safetensors.torch

from sll_zoo.errors import WeightsError
from sll_zoo.evaluation import Evaluation
from sll_zoo.files import written_whole
from sll_zoo.functional.certificate import radius_label
from sll_zoo.models import LipschitzClassifier
from sll_zoo.zoo.card import refresh_tables, render_card
from sll_zoo.zoo.record import Measurement, Record, write_json, write_record
from sll_zoo.zoo.weights import CHECKPOINTS, CONFIG_FILE, WEIGHTS_FILE

PACKAGES = ("torch", "lightning", "timm", "scikit-learn")


def export_model(
    model: LipschitzClassifier,
    folder: Path,
    *,
    dataset: str,
    evaluation: Evaluation,
    baseline: Evaluation | None,
    training: dict[str, Any],
    label_names: Sequence[str],
) -> Record:
    """Write ``folder`` and return the record of what it holds.

    In the folder that a checkout keeps for these weights, the zoo's own record and the tables made from it follow, so that
    ``create_model(name, pretrained=True)`` loads the new weights.

    Args:
        model: The trained network, built by ``create_model``, whose name and tag it keeps.
        folder: Where the files go; each is replaced whole.
        dataset: On which the network was trained and measured.
        evaluation: Of the network on held-out images.
        baseline: Of a nearest-neighbour margin classifier on the same, or None.
        training: What it takes to repeat the training.
        label_names: Of the classes, in order.

    Raises:
        WeightsError: Weights with NaN or infinity; nothing is written.
    """
    described: dict[str, Any] = vars(model)["pretrained_cfg"]  # of timm's factory
    name = f"{described['architecture']}.{described['tag']}"
    # In float32, whatever the training ran in: that is what create_model builds.
    state = {key: value.detach().cpu().float().contiguous() for key, value in model.state_dict().items()}
    if broken := [key for key, value in state.items() if not value.isfinite().all()]:
        raise WeightsError(f"the trained network has NaN or infinity in {broken[0]}", "lower the learning rate and train again")
    content = safetensors.torch.save(state)
    record = Record(
        family=model.config.family,
        sha256=hashlib.sha256(content).hexdigest(),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dataset=dataset,
        n=evaluation.n,
        measured=_measurement(evaluation),
        baseline=_measurement(baseline) if baseline else None,
        training=training,
        device=next(model.parameters()).device.type,
        versions={"python": python_version(), **{package: version(package) for package in PACKAGES}},
    )
    shipped = folder.resolve() == (CHECKPOINTS / name).resolve()
    with written_whole(folder / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(content)
    with written_whole(folder / CONFIG_FILE) as temporary:
        write_json(temporary, _config(described, model, record, label_names))
    with written_whole(folder / "README.md") as temporary:
        temporary.write_text(render_card(name if shipped else "local-dir:.", record), "utf-8")
    if shipped:
        write_record(name, record)
        refresh_tables(CHECKPOINTS.parent)
    return record


def _config(described: dict[str, Any], model: LipschitzClassifier, record: Record, label_names: Sequence[str]) -> dict[str, Any]:
    """Return timm's config.json, with the whole shape of the network and, under ``certified``, the record."""
    kept = ("tag", "fixed_input_size", "interpolation", "crop_pct", "classifier", "license", "paper_ids")
    return {
        "architecture": described["architecture"],
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "label_names": list(label_names),
        "model_args": asdict(model.config),
        "pretrained_cfg": {
            **{key: described[key] for key in kept},
            "num_classes": model.num_classes,
            "input_size": model.config.input_shape,
            "mean": [0.0] * model.in_chans,
            "std": [1.0] * model.in_chans,
        },
        "certified": asdict(record),
    }


def _measurement(evaluation: Evaluation) -> Measurement:
    return Measurement(
        clean=evaluation.clean, certified={radius_label(eps): accuracy for eps, accuracy in evaluation.certified.items()}
    )
