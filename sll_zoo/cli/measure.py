"""Commands that measure a network: ``demo``, ``certify``, ``classify``, ``audit``, ``attack``."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from functools import partial

import torch
from rich.console import Console
from rich.progress import track

from sll_zoo.certificates.attacking import attack
from sll_zoo.certificates.auditing import audit
from sll_zoo.certificates.evaluation import evaluate
from sll_zoo.cli import demo
from sll_zoo.cli.quiet import quiet_lightning
from sll_zoo.data import check_source, fingerprint, open_data
from sll_zoo.errors import ConfigError
from sll_zoo.files import obstacle_to_file
from sll_zoo.functional.certificate import RADII
from sll_zoo.layers import FAMILIES
from sll_zoo.models.labels import label_names
from sll_zoo.reports.attack import name_of, render_attack, require_npz, write_violations
from sll_zoo.reports.certification import check_folder, describe_run, write_report
from sll_zoo.reports.classification import FILES, classify, in_words, require_images, to_dict, write_classified
from sll_zoo.reports.progress import track_images
from sll_zoo.reports.tables import print_evaluation
from sll_zoo.zoo import create_model
from sll_zoo.zoo.entries import TAGS, full_name
from sll_zoo.zoo.publishing.recording import record_attack, recording_folder
from sll_zoo.zoo.records.record import read_records


def run_demo(options: argparse.Namespace) -> None:
    """Show the whole of it on the digits."""
    if problem := obstacle_to_file(options.picture):
        raise ConfigError(problem, "name a picture in a folder of yours")
    with quiet_lightning():
        demo.run_demo(options.picture)


def run_certify(options: argparse.Namespace) -> None:
    """Measure a model on held-out images."""
    # What is cheap to refuse is refused before the model is loaded, and a damaged image before any is certified.
    check_source(options.data)
    if options.out:
        check_folder(options.out)
    model = create_model(options.model, pretrained=True).eval().to(options.device)
    data = open_data(options.data, model.config.input_shape, model.num_classes, label_names(model))
    if options.limit:
        data = data.limited(options.limit)
    data_sha256 = fingerprint(track_images(data.batches(), len(data), "reading"))
    evaluation = evaluate(model, track_images(data.batches(), len(data), "certifying"), sound=options.sound)
    print_evaluation(evaluation)
    if options.out:
        report = describe_run(model, evaluation, data, _command(options), options.model, data_sha256)
        print(f"report: {write_report(options.out, report, evaluation, data)}")


def run_classify(options: argparse.Namespace) -> None:
    """Classify and certify images in files."""
    require_images(options.images)
    if options.out:
        check_folder(options.out, FILES)
    classified, images = classify(create_model(options.model, pretrained=True).eval(), options.images)
    print(json.dumps(to_dict(options.model, classified), indent=2) if options.json else in_words(classified))
    if options.out:
        page = write_classified(options.out, options.model, classified, images)
        print(f"page: {page}", file=sys.stderr if options.json else sys.stdout)


def _command(options: argparse.Namespace) -> str:
    """Return the command line that repeats a certification."""
    words = ["sll-zoo", "certify", options.model, options.data]
    words += ["--sound"] if options.sound else []
    words += ["--limit", str(options.limit)] if options.limit else []
    return shlex.join([*words, "--out", str(options.out)])


def run_attack(options: argparse.Namespace) -> int:
    """Look for images that refute a certificate."""
    eps = options.eps or RADII
    require_npz(options.out)
    check_source(options.data)
    model = create_model(options.model, pretrained=True).eval().to(options.device)
    data = open_data(options.data, model.config.input_shape, model.num_classes, label_names(model))
    folder = recording_folder(options.model, data, eps) if options.record else None
    if options.limit:
        data = data.limited(options.limit)
    images, labels = (torch.cat(part) for part in zip(*data.batches(), strict=True))
    found = attack(
        model,
        images,
        labels,
        eps,
        method=options.method,
        steps=options.steps,
        restarts=options.restarts,
        progress=partial(track, description=f"attacking {options.data}"),
    )
    print(render_attack(found))
    if found.violations.any():
        print(write_violations(found, options.model, options.out), file=sys.stderr)
    elif folder:
        record_attack(folder, found, name_of(options.method, options.steps, options.restarts))
    return bool(found.violations.any())


def run_audit(options: argparse.Namespace) -> int:
    """Check every layer of a model."""
    named = options.model.partition(".")[0]
    trained = named not in TAGS or full_name(options.model) in read_records()
    model = create_model(options.model, pretrained=trained)
    if not trained:
        print(f"{options.model} has no published weights: auditing it as it starts", file=sys.stderr)
    found = audit(model, partial(track, description=f"auditing {options.model}", console=Console(stderr=True)))
    if options.json:
        print(json.dumps(found.to_dict(), indent=2))
        return bool(found.problems)
    family = model.config.family
    print(f"family {family}, {FAMILIES[family].form} form")
    print(f"{'layer':14} {'kind':18} {'T':11} {'weight':18} {'margin':>9} {'proved':>9} {'found':>9} {'gap':>8}")
    for row in found.layers:
        shape = " x ".join(map(str, row.shape))
        bounds = f"{row.upper_bound:9.6f} {row.lower_bound:9.6f} {row.gap:8.2g}"
        print(f"{row.name:14} {row.kind:18} {row.t:11} {shape:18} {row.margin:9.3g} {bounds}")
    print(f"features: {found.constant:.9g}-Lipschitz; logit differences: {found.pairwise[0]:.4g} to {found.pairwise[1]:.4g}")
    print("\n".join(found.problems) or "every layer keeps its claim")
    return bool(found.problems)
