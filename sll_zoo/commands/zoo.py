"""Commands around the model zoo: ``list``, ``pull``, ``publish``, ``ship``, ``convert``, ``quantize``."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import track

from sll_zoo.commands.measure import add_device
from sll_zoo.data import check_source
from sll_zoo.functional.certificate import radius_label
from sll_zoo.publishing import convert, publish
from sll_zoo.quantizing import quantize_weights
from sll_zoo.zoo import list_models, pull
from sll_zoo.zoo.card import describe, file_in_words, percent, size_in_words
from sll_zoo.zoo.entries import TAGS
from sll_zoo.zoo.listing import Listed, listed_models
from sll_zoo.zoo.packing import BITS

AUDITING = partial(track, description="auditing", console=Console(stderr=True))


def add_commands(commands: Any) -> None:
    """Add the commands to the parsers of a command line."""
    listing = commands.add_parser("list", help="list the models")
    listing.add_argument("--pretrained", action="store_true", help="only those with weights, and what they reach")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)

    pulling = commands.add_parser("pull", help="fetch a model's weights before they are needed")
    pulling.add_argument("model", metavar="MODEL", help="a name of `sll-zoo list --pretrained`, or hf-hub:org/name[@revision]")
    pulling.add_argument("--to", type=Path, metavar="DIR", help="copy them there, for a machine without a network")
    pulling.set_defaults(run=_pull)

    publishing = commands.add_parser("publish", help="check weights and put them on the Hugging Face Hub")
    publishing.add_argument("source", metavar="SOURCE", help="a folder such as checkpoints/NAME, a model's name, or a .ckpt")
    publishing.add_argument("repo_id", metavar="REPO_ID", help="org/name; made if there is none")
    publishing.add_argument("--private", action="store_true", help="visible to its owners only")
    publishing.add_argument("--revision", default="main", help="the branch; made if there is none (%(default)s)")
    publishing.add_argument("--tag", help="put on the commit, such as v1.0; never moved")
    _add_data(publishing)
    publishing.add_argument("--dry-run", action="store_true", help="check everything, show files and card, send nothing")
    publishing.set_defaults(run=_publish)

    shipping = commands.add_parser("ship", help="check exported weights and put them into checkpoints/, with record and tables")
    shipping.add_argument("folder", type=Path, metavar="FOLDER", help="that `sll-zoo fit` or `quantize` wrote")
    shipping.set_defaults(run=_ship)

    converting = commands.add_parser("convert", help="turn a checkpoint of the paper's authors into a folder to publish")
    converting.add_argument("official", type=Path, metavar="OFFICIAL.pth", help="a checkpoint of the authors' repository")
    converting.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the folder goes")
    _add_data(converting)
    converting.set_defaults(run=_convert)

    quantizing = commands.add_parser("quantize", help="write a model with fewer bits a weight, and measure what that costs")
    quantizing.add_argument("model", metavar="MODEL", help="as for certify")
    quantizing.add_argument("--bits", type=int, choices=BITS, default=8, help="of a weight; 16 is bfloat16 (%(default)s)")
    quantizing.add_argument("--data", required=True, metavar="DATA", help="held-out images to measure on, as for certify")
    add_device(quantizing)
    quantizing.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the folder goes")
    quantizing.set_defaults(run=_quantize)


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", metavar="DATA", help="held-out images to measure on, as for certify, if nothing is recorded")


def _list(options: argparse.Namespace) -> None:
    if not options.pretrained:
        names = {name: TAGS[name] for name in list_models()}
        print(json.dumps(names, indent=2) if options.json else "\n".join(f"{k:22} {', '.join(v)}" for k, v in names.items()))
        return
    models = listed_models()
    if options.json:
        print(json.dumps([model.to_dict() for model in models], indent=2))
        return
    for model in models:
        print(_line(model))


def _line(model: Listed) -> str:
    record = model.record
    where = f"{model.location}{'' if model.available else ', not downloaded yet'}"
    return f"{record.name}: {describe(record)}; {file_in_words(record)}, {record.license}; {where}"


def _pull(options: argparse.Namespace) -> None:
    print(f"{options.model} is in {pull(options.model, options.to)}")


def _publish(options: argparse.Namespace) -> None:
    found = publish(
        options.source,
        options.repo_id,
        private=options.private,
        revision=options.revision,
        tag=options.tag,
        data=options.data,
        dry_run=options.dry_run,
        progress=AUDITING,
    )
    if options.dry_run:
        Console().print(Markdown(found.card.split("---\n", 2)[2]))
    for name, size in found.files.items():
        print(f"{name:20} {size_in_words(size):>9}")
    _warn(found.warning)
    if options.dry_run:
        print(f"every {'other ' if found.warning else ''}check passed; nothing was sent to {found.repo_id}")
    else:
        print(f"{found.url}{'' if found.changed else ' (nothing changed)'}")


def _warn(warning: str) -> None:
    if warning:
        print(f"sll-zoo: warning: {warning}", file=sys.stderr)


def _ship(options: argparse.Namespace) -> None:
    from sll_zoo.shipping import ship

    found = ship(options.folder, AUDITING)
    _warn(found.warning)
    print(f"{found.folder}: {found.record.name}, {describe(found.record)}")


def _convert(options: argparse.Namespace) -> None:
    record = convert(options.official, options.out, options.data, AUDITING)
    print(f"{options.out}: {record.name}, {describe(record)}")


def _quantize(options: argparse.Namespace) -> None:
    check_source(options.data)
    found = quantize_weights(options.model, options.out, options.data, options.bits, options.device, AUDITING)
    before, after = found.before, found.after
    rows = [("clean accuracy", before.clean, after.clean)]
    rows += [(f"certified at {radius_label(eps)}", share, after.certified[eps]) for eps, share in before.certified.items()]
    print(f"{'':20} {'before':>9} {'after':>9} {'points':>7}")
    for name, *shares in rows:
        print(f"{name:20} {percent(shares[0]):>9} {percent(shares[1]):>9} {100 * (shares[1] - shares[0]):+7.2f}")
    print(f"{'mean radius':20} {before.mean_radius:9.4f} {after.mean_radius:9.4f}")
    print(f"{'file':20} {size_in_words(found.size_before):>9} {size_in_words(found.record.size):>9}")
    print(f"{options.out}: {found.record.name}, {after.n:,} images, {file_in_words(found.record)}")
