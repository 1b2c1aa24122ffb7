"""Commands that measure a network: ``certify``, ``audit``, ``attack``."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from sll_zoo.attack_report import name_of, radius, record_attack, recording_folder, render_attack, require_npz, write_lies
from sll_zoo.attacking import METHODS, attack
from sll_zoo.auditing import audit
from sll_zoo.data import DATA, check_source, fingerprint, open_data
from sll_zoo.demo import print_evaluation
from sll_zoo.evaluation import evaluate
from sll_zoo.functional.certificate import RADII
from sll_zoo.layers import FAMILIES
from sll_zoo.progress import track_images
from sll_zoo.report import check_folder, describe_run, write_report
from sll_zoo.zoo import create_model
from sll_zoo.zoo.entries import TAGS, full_name
from sll_zoo.zoo.record import read_records


def add_commands(commands: Any) -> None:
    """Add the commands to the parsers of a command line."""
    certify = commands.add_parser("certify", help="measure clean and certified accuracy of a model")
    certify.add_argument(
        "model",
        metavar="MODEL",
        help="a name of `sll-zoo list --pretrained`, hf-hub:org/name[@revision], local-dir:path, or ckpt:path of a training",
    )
    certify.add_argument(
        "data", metavar="DATA", help=f"held-out images of {', '.join(DATA)}; or a folder with a folder of images for each class"
    )
    certify.add_argument("--sound", action="store_true", help="subtract from each radius what rounding may have added to it")
    certify.add_argument("--limit", type=_positive, metavar="N", help="measure N images only, evenly spaced, always the same")
    add_device(certify)
    certify.add_argument(
        "--out", type=Path, metavar="DIR", help="write a report there: report.html, report.json, samples.csv, curve.png"
    )
    certify.set_defaults(run=_certify)

    auditing = commands.add_parser("audit", help="check every layer of a model; status 1 if one breaks its claim")
    auditing.add_argument("model", metavar="MODEL", help="as for certify")
    auditing.add_argument("--json", action="store_true", help="print JSON")
    auditing.set_defaults(run=_audit)

    attacking = commands.add_parser("attack", help="search for images that refute a certificate; status 1 if there are any")
    attacking.add_argument("model", metavar="MODEL", help="as for certify")
    attacking.add_argument("data", metavar="DATA", help="as for certify")
    attacking.add_argument("--method", choices=METHODS, default=METHODS[0], help="autoattack needs sll-zoo[attack] (%(default)s)")
    attacking.add_argument(
        "--eps", type=radius, nargs="+", default=RADII, help="L2 radii such as 0.5 or 36/255 (the paper's four)"
    )
    attacking.add_argument("--limit", type=_positive, metavar="N", help="as for certify")
    add_device(attacking)
    attacking.add_argument("--steps", type=int, default=100, help="of a run of PGD (%(default)s)")
    attacking.add_argument("--restarts", type=int, default=5, help="runs of PGD (%(default)s)")
    attacking.add_argument(
        "--out", type=Path, default=Path("outputs/refuted.npz"), help="where images that refute a certificate go (%(default)s)"
    )
    attacking.add_argument(
        "--record", action="store_true", help="write the accuracies into config.json and README.md of the model's folder"
    )
    attacking.set_defaults(run=_attack)


def add_device(command: argparse.ArgumentParser) -> None:
    """Add the option that says on what networks are evaluated."""
    command.add_argument("--device", type=_device, choices=("cpu", "cuda"), default="cpu", help="where to compute (%(default)s)")


def _device(text: str) -> str:
    if text == "cuda" and not torch.cuda.is_available():
        raise argparse.ArgumentTypeError("cuda: torch finds no GPU here; leave --device out")
    return text


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text}: give an integer of at least 1")
    return int(text)


def _certify(options: argparse.Namespace) -> None:
    # What is cheap to refuse is refused before the model is loaded, and a damaged image before any is certified.
    check_source(options.data)
    if options.out:
        check_folder(options.out)
    model = create_model(options.model, pretrained=True).eval().to(options.device)
    data = open_data(options.data, model.config.input_shape, model.num_classes)
    if options.limit:
        data = data.limited(options.limit)
    data_sha256 = fingerprint(track_images(data.batches(), len(data), "reading"))
    evaluation = evaluate(model, track_images(data.batches(), len(data), "certifying"), sound=options.sound)
    print_evaluation(evaluation)
    if options.out:
        report = describe_run(model, evaluation, data, _command(options), options.model, data_sha256)
        print(f"report: {write_report(options.out, report, evaluation, data)}")


def _command(options: argparse.Namespace) -> str:
    """Return the command line that repeats a certification."""
    words = ["sll-zoo", "certify", options.model, options.data]
    words += ["--sound"] if options.sound else []
    words += ["--limit", str(options.limit)] if options.limit else []
    return shlex.join([*words, "--out", str(options.out)])


def _attack(options: argparse.Namespace) -> int:
    require_npz(options.out)
    check_source(options.data)
    model = create_model(options.model, pretrained=True).eval().to(options.device)
    data = open_data(options.data, model.config.input_shape, model.num_classes)
    folder = recording_folder(options.model, data, options.eps) if options.record else None
    if options.limit:
        data = data.limited(options.limit)
    images, labels = (torch.cat(part) for part in zip(*data.batches(), strict=True))
    found = attack(
        model,
        images,
        labels,
        options.eps,
        method=options.method,
        steps=options.steps,
        restarts=options.restarts,
        progress=partial(track, description=f"attacking {options.data}"),
    )
    print(render_attack(found))
    if found.lies.any():
        print(write_lies(found, options.model, options.out), file=sys.stderr)
    elif folder:
        record_attack(folder, found, name_of(options.method, options.steps, options.restarts))
    return bool(found.lies.any())


def _audit(options: argparse.Namespace) -> int:
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
