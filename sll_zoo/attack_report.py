"""What the command ``attack`` says and writes: a table, and the images that refute a certificate."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from sll_zoo.attacking import JUST_BELOW, Attack
from sll_zoo.data import HeldOut, fingerprint
from sll_zoo.environment import versions_of
from sll_zoo.errors import ConfigError
from sll_zoo.files import obstacle, written_whole
from sll_zoo.functional.certificate import radius_label
from sll_zoo.zoo.card import percent
from sll_zoo.zoo.export import under_attack
from sll_zoo.zoo.folder import describe_folder
from sll_zoo.zoo.measured import Measurement
from sll_zoo.zoo.pull import locate
from sll_zoo.zoo.reading import CONFIG_FILE, read_config, stated_record
from sll_zoo.zoo.record import Record
from sll_zoo.zoo.weights import INSTALLED

PACKAGES = ("sll_zoo", "torch", "numpy")
AUTOATTACK = "AutoAttack (APGD-CE, APGD-T, FAB-T, Square)"

REFUTED = """{lies} of {n} images change their class inside their certified radius: the certificate of {model} is wrong.
They are in {path}, with radii, distances and versions. Please report it: open an issue of sll_zoo with this file attached,
and the command that you ran."""


def name_of(method: str, steps: int, restarts: int) -> str:
    """Return what a record calls an attack of :func:`~sll_zoo.attack`."""
    return AUTOATTACK if method == "autoattack" else f"PGD ({steps} steps, {restarts} restarts)"


def recording_folder(model: str, data: HeldOut, eps: Sequence[float]) -> Path:
    """Return the folder of a model's weights, whose record an attack on images of ``data`` can be added to.

    Raises:
        ConfigError: Weights that are not in a folder, or in the installed package or one that cannot be written to, that nobody
            has measured, or that were measured on other images, or not at these radii.
    """
    place = locate(model)
    if not isinstance(place, Path):
        raise ConfigError(f"--record for weights of {place.model_id}", "name a folder of yours: local-dir:FOLDER")
    if place.resolve().parent == INSTALLED:
        raise ConfigError(f"--record in the installed package, {place}", "name a folder of yours: `sll-zoo pull --help`")
    if problem := obstacle(place):
        raise ConfigError(problem, "leave --record out, or name a folder of yours")
    _, _, measured = _recorded(place)
    certified = [row.eps for row in measured.accuracy.certified]
    if other := [value for value in eps if value not in certified]:
        raise ConfigError(f"--record at eps {other[0]:g}", f"choose of {', '.join(map(radius_label, certified))}")
    if fingerprint(data.batches()) != measured.fingerprint:
        raise ConfigError(f"--record for {data.name}", f"attack the images that were measured, of {measured.dataset}")
    return place


def record_attack(folder: Path, found: Attack, method: str) -> None:
    """Write an attack into the record and the card of a folder, in place of an earlier one by the same method."""
    config, record, measured = _recorded(folder)
    others = (attacked for attacked in measured.empirical if attacked.method != method)
    measured = replace(measured, empirical=(*others, under_attack(found, method)))
    describe_folder(folder, replace(record, measured=measured), config)


def _recorded(folder: Path) -> tuple[dict[str, Any], Record, Measurement]:
    """Return the content of config.json, the record in it, and what that says was measured."""
    config = read_config(folder / CONFIG_FILE)
    record = stated_record(config)
    if not record or not record.measured:
        raise ConfigError(f"--record for weights in {folder} that nobody has measured", "measure them: `sll-zoo quantize --help`")
    return config, record, record.measured


def require_npz(path: Path) -> None:
    """Raise ConfigError unless a file ``path`` can be written later: before the search, not after it."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.suffix != ".npz" or path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ConfigError(f"--out {path} cannot be written", "give the name of an .npz file in a folder of yours")


def render_attack(found: Attack) -> str:
    """Return the table of accuracies, a line for each radius, with what they were measured on."""
    lines = [f"{'eps':>8} {'clean':>10} {'empirical':>10} {'certified':>10}"]
    for eps, certified in found.certified.items():
        cells = (percent(found.clean), percent(found.empirical[eps]), percent(certified))
        lines.append(f"{radius_label(eps):>8} " + " ".join(f"{cell:>10}" for cell in cells))
    broken = int(found.lies.sum())
    lines.append(f"{broken} of {found.n} images broken inside their certified radius, each searched up to {JUST_BELOW} of it")
    lines.append(
        f"{found.n} images in {found.seconds:.1f} s, searched in float32, verified in float64, {torch.get_num_threads()} threads"
    )
    return "\n".join(lines)


def write_lies(found: Attack, model: str, path: Path) -> str:
    """Write the images that changed their class inside their certified radius as .npz, and return how to report them.

    The file has, for k images: ``original`` and ``adversarial`` (k, channels, height, width), ``label``, ``prediction``,
    ``adversarial_prediction``, ``distance`` and ``radius`` (k,), the name of the ``model`` and the ``versions`` as JSON.
    """
    tensors = {
        "original": found.images,
        "adversarial": found.adversarial,
        "label": found.labels,
        "prediction": found.prediction,
        "adversarial_prediction": found.adversarial_prediction,
        "distance": found.distance,
        "radius": found.radius,
    }
    arrays = {name: array[found.lies].cpu().numpy() for name, array in tensors.items()}
    with written_whole(path) as temporary:
        np.savez(temporary, allow_pickle=False, model=model, versions=json.dumps(versions_of(PACKAGES)), **arrays)
    return REFUTED.format(lies=int(found.lies.sum()), n=found.n, model=model, path=path)
