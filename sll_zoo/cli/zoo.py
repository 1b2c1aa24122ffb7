"""Commands around the model zoo: ``list``, ``pull``, ``publish``, ``ship``, ``convert``, ``quantize``, ``grow``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.progress import track

from sll_zoo.data import check_source
from sll_zoo.functional.certificate import radius_label
from sll_zoo.functional.norms import norm_label
from sll_zoo.reports.words import percent, size_in_words
from sll_zoo.zoo import list_models, pull
from sll_zoo.zoo.entries import TAGS
from sll_zoo.zoo.growing import grow_weights
from sll_zoo.zoo.listing import Listed, listed_models
from sll_zoo.zoo.publishing.publish import convert, publish
from sll_zoo.zoo.publishing.quantize import quantize_weights
from sll_zoo.zoo.publishing.ship import ship
from sll_zoo.zoo.records.card import describe, file_in_words

AUDITING = partial(track, description="auditing", console=Console(stderr=True))


def run_list(*, pretrained: bool, as_json: bool) -> None:
    """List the models."""
    if not pretrained:
        names = {name: TAGS[name] for name in list_models()}
        print(json.dumps(names, indent=2) if as_json else "\n".join(f"{k:22} {', '.join(v)}" for k, v in names.items()))
        return
    models = listed_models()
    if as_json:
        print(json.dumps([model.to_dict() for model in models], indent=2))
        return
    for model in models:
        print(_line(model))


def _line(model: Listed) -> str:
    record = model.record
    where = f"{model.location}{'' if model.available else ', not downloaded yet'}"
    return f"{record.name}: {describe(record)}; {file_in_words(record)}, {record.license}; {where}"


def run_pull(model: str, to: Path | None) -> None:
    """Fetch a model's weights."""
    print(f"{model} is in {pull(model, to)}")


def run_publish(
    source: str, repo_id: str, *, private: bool, revision: str, tag: str | None, data: str | None, dry_run: bool
) -> None:
    """Check weights, and put them on the Hub."""
    found = publish(source, repo_id, private=private, revision=revision, tag=tag, data=data, dry_run=dry_run, progress=AUDITING)
    if dry_run:
        Console().print(Markdown(found.card.split("---\n", 2)[2]))
    for name, size in found.files.items():
        print(f"{name:20} {size_in_words(size):>9}")
    _warn(found.warning)
    if dry_run:
        print(f"every {'other ' if found.warning else ''}check passed; nothing was sent to {found.repo_id}")
    else:
        print(f"{found.url}{'' if found.changed else ' (nothing changed)'}")


def _warn(warning: str) -> None:
    if warning:
        print(f"sll-zoo: warning: {warning}", file=sys.stderr)


def run_ship(folder: Path) -> None:
    """Put saved weights into checkpoints/."""
    found = ship(folder, AUDITING)
    _warn(found.warning)
    print(f"{found.folder}: {found.record.name}, {describe(found.record)}")


def run_convert(official: Path, *, out: Path, data: str | None) -> None:
    """Turn a checkpoint of the paper's authors into a folder."""
    record = convert(official, out, data, AUDITING)
    print(f"{out}: {record.name}, {describe(record)}")


def run_quantize(model: str, *, bits: int, data: str, device: str, out: Path) -> None:
    """Write a model with fewer bits a weight, and print what that costs."""
    check_source(data)
    found = quantize_weights(model, out, data, bits, device, AUDITING)
    before, after = found.before, found.after
    rows, norm = [("clean accuracy", before.clean, after.clean)], norm_label(before.norm)
    rows += [(f"certified at {radius_label(eps)} {norm}", share, after.certified[eps]) for eps, share in before.certified.items()]
    print(f"{'':24} {'before':>9} {'after':>9} {'points':>7}")
    for name, *shares in rows:
        print(f"{name:24} {percent(shares[0]):>9} {percent(shares[1]):>9} {100 * (shares[1] - shares[0]):+7.2f}")
    print(f"{f'mean {norm} radius':24} {before.mean_radius:9.4f} {after.mean_radius:9.4f}")
    print(f"{'file':24} {size_in_words(found.size_before):>9} {size_in_words(found.record.size):>9}")
    print(f"{out}: {found.record.name}, {after.n:,} images, {file_in_words(found.record)}")


def run_grow(model: str, target: str, *, data: str | None, out: Path, model_args: Sequence[tuple[str, int]]) -> None:
    """Write a larger model that starts as the same function."""
    record = grow_weights(model, target, out, data, **dict(model_args))
    print(f"{out}: {record.name}, {describe(record)}; it is trained on by --model.name local-dir:{out} --model.pretrained true")
