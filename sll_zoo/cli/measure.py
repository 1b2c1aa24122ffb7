"""Commands that measure a network: ``certify``, ``classify``, ``explain``, ``audit``, ``attack``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from sll_zoo.certificates.attacking import attack
from sll_zoo.certificates.auditing import audit
from sll_zoo.certificates.evaluation import evaluate
from sll_zoo.certificates.explaining import explain
from sll_zoo.data import HeldOut, check_source, fingerprint, load_images, open_data
from sll_zoo.errors import ConfigError
from sll_zoo.functional.certificate import RADII_IN
from sll_zoo.functional.norms import norm_label
from sll_zoo.layers import FAMILIES
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.labels import label_names
from sll_zoo.reports import explanation
from sll_zoo.reports.attack import name_of, render_attack, require_npz, write_violations
from sll_zoo.reports.certification import check_folder, describe_run, write_report
from sll_zoo.reports.classification import FILES, classify, in_words, require_images, to_dict, write_classified
from sll_zoo.reports.progress import track_images
from sll_zoo.reports.tables import print_evaluation
from sll_zoo.zoo import create_model
from sll_zoo.zoo.entries import TAGS, full_name
from sll_zoo.zoo.factory import load
from sll_zoo.zoo.folder import ModelFolder
from sll_zoo.zoo.publishing.pull import locate
from sll_zoo.zoo.publishing.recertify import recorded_images
from sll_zoo.zoo.publishing.recording import (
    record_attack,
    recording_folder,
    require_measured_at,
    require_measured_on,
    require_no_loss,
)
from sll_zoo.zoo.records.record import read_records

# Bytes of images that are kept once they are read; more are read again to certify them.
KEPT = 2**30


def run_certify(
    model: str, data: str | None, *, sound: bool, limit: int | None, device: str, out: Path | None, command: str
) -> None:
    """Measure a model on held-out images."""
    # Cheap checks come before loading the model, and all images are read before any is certified, to find damaged ones.
    if data:
        check_source(data)
    if out:
        check_folder(out)
    network = create_model(model, pretrained=True).eval().to(device)
    held_out = _held_out(model, network, data)
    if limit:
        held_out = held_out.limited(limit)
    reading = track_images(held_out.batches(), len(held_out), "reading")
    kept = list(reading) if len(held_out) * held_out.image(0).nbytes <= KEPT else None
    data_sha256 = fingerprint(kept or reading)
    evaluation = evaluate(network, track_images(kept or held_out.batches(), len(held_out), "certifying"), sound=sound)
    print("; ".join(filter(None, (held_out.name, held_out.about))))
    print_evaluation(evaluation)
    if out:
        report = describe_run(network, evaluation, held_out, command, model, data_sha256)
        print(f"report: {write_report(out, report, evaluation, held_out)}")


def _held_out(name: str, network: LipschitzClassifier, data: str | None) -> HeldOut:
    """Return the images to measure on; without ``data``, those that the model's record was measured on.

    Raises:
        ConfigError: Neither data nor a record.
        SllZooError: The images are missing, damaged, or do not fit the network.
    """
    if data:
        return open_data(data, network.config.input_shape, network.num_classes, label_names(network))
    record = None if name.startswith("ckpt:") else ModelFolder.at(locate(name)).record
    if not record or not record.measured:
        raise ConfigError(f"{name} has no record of what it was measured on", "give DATA, the images to measure on")
    return recorded_images(record.measured, network)


def run_classify(model: str, images: Sequence[Path], *, as_json: bool, out: Path | None) -> None:
    """Classify and certify images in files."""
    require_images(images)
    if out:
        check_folder(out, FILES)
    classified, opened = classify(create_model(model, pretrained=True).eval(), images)
    print(json.dumps(to_dict(model, classified), indent=2) if as_json else in_words(classified))
    if out:
        page = write_classified(out, model, classified, opened)
        print(f"page: {page}", file=sys.stderr if as_json else sys.stdout)


def run_explain(model: str, images: Sequence[Path], *, out: Path) -> None:
    """Explain the classes of images in files."""
    require_images(images)
    check_folder(out, explanation.FILES)
    network = create_model(model, pretrained=True).eval()
    found = explain(network, load_images(images, network))
    rows = explanation.to_rows(network, images, found)
    print(explanation.in_words(rows))
    print(f"page: {explanation.write_explanation(out, model, rows, found)}")


def run_attack(
    model: str,
    data: str | None,
    *,
    method: str,
    eps: Sequence[float] | None,
    limit: int | None,
    device: str,
    steps: int,
    restarts: int,
    out: Path,
    record: bool,
) -> int:
    """Look for images that refute a certificate."""
    require_npz(out)
    if data:
        check_source(data)
    folder = recording_folder(model) if record else None
    network = (load(folder) if folder else create_model(model, pretrained=True)).eval().to(device)
    radii = eps or RADII_IN[network.norm]
    if folder:
        require_measured_at(folder, radii)
    held_out = _held_out(model, network, data)
    if folder and data:
        require_measured_on(folder, held_out)
    if limit:
        held_out = held_out.limited(limit)
    called = name_of(method, steps, restarts)
    if folder:
        require_no_loss(folder, called, len(held_out), radii)
    images, labels = (torch.cat(part) for part in zip(*held_out.batches(), strict=True))
    progress = partial(track, description=f"attacking {held_out.name}")
    found = attack(network, images, labels, radii, method=method, steps=steps, restarts=restarts, progress=progress)
    print(render_attack(found))
    if found.violations.any():
        print(write_violations(found, model, out), file=sys.stderr)
    elif folder:
        record_attack(folder.path, found, called)
        print(f"recorded in {folder.path}")
    return bool(found.violations.any())


def run_audit(model: str, *, as_json: bool) -> int:
    """Check every layer of a model."""
    trained = model.partition(".")[0] not in TAGS or full_name(model) in read_records()
    network = create_model(model, pretrained=trained)
    if not trained:
        print(f"{model} has no published weights: auditing it as it starts", file=sys.stderr)
    found = audit(network, partial(track, description=f"auditing {model}", console=Console(stderr=True)))
    if as_json:
        print(json.dumps(found.to_dict(), indent=2))
        return bool(found.problems)
    family = network.config.family
    form = f"{FAMILIES[family].form} form" if family in FAMILIES else "sorted distances"
    print(f"family {family}, {form}, constants in {norm_label(found.norm)}")
    print(f"{'layer':14} {'kind':18} {'T':11} {'weight':18} {'margin':>9} {'proved':>9} {'found':>9} {'gap':>8}")
    for row in found.layers:
        shape = " x ".join(map(str, row.shape))
        bounds = f"{row.upper_bound:9.6f} {row.lower_bound:9.6f} {row.gap:8.2g}"
        print(f"{row.name:14} {row.kind:18} {row.t:11} {shape:18} {row.margin:9.3g} {bounds}")
    print(f"features: {found.constant:.9g}-Lipschitz; logit differences: {found.pairwise[0]:.4g} to {found.pairwise[1]:.4g}")
    print("\n".join(found.problems) or "every layer keeps its claim")
    return bool(found.problems)
