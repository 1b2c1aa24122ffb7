"""Output of the command ``attack``: a table, and a file with the images that refute a certificate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from sll_zoo.certificates.attacking import JUST_BELOW, Attack
from sll_zoo.environment import versions_of
from sll_zoo.errors import ConfigError
from sll_zoo.files import atomic_write, obstacle_to_file
from sll_zoo.functional.certificate import radius_label
from sll_zoo.functional.norms import norm_label
from sll_zoo.reports.words import percent

PACKAGES = ("sll_zoo", "torch", "numpy")
AUTOATTACK = "AutoAttack (APGD-CE, APGD-T, FAB-T, Square)"

REFUTED = """{violations} of {n} images change their class inside their certified radius: the certificate of {model} is wrong.
They are in {path}, with radii, distances and versions. Please report it: open an issue of sll_zoo with this file attached,
and the command that you ran."""


def name_of(method: str, steps: int, restarts: int) -> str:
    """Return the name by which records call an attack of :func:`~sll_zoo.attack`."""
    return AUTOATTACK if method == "autoattack" else f"PGD ({steps} steps, {restarts} restarts)"


def require_npz(path: Path) -> None:
    """Raise ConfigError unless ``path`` is an .npz file that can be written; to be called before the search."""
    problem = obstacle_to_file(path) if path.suffix == ".npz" else f"{path} has the suffix {path.suffix!r}"
    if problem:
        raise ConfigError(f"--out: {problem}", "give the name of an .npz file in a folder of yours")


def render_attack(found: Attack) -> str:
    """Return the table of accuracies, a line for each radius, with what they were measured on."""
    norm = norm_label(found.norm)
    lines = [f"{norm + ' eps':>8} {'clean':>10} {'empirical':>10} {'certified':>10}"]
    for eps, certified in found.certified.items():
        cells = (percent(found.clean), percent(found.empirical[eps]), percent(certified))
        lines.append(f"{radius_label(eps):>8} " + " ".join(f"{cell:>10}" for cell in cells))
    broken = int(found.violations.sum())
    lines.append(f"{broken} of {found.n} images broken inside their certified radius, each searched up to {JUST_BELOW} of it")
    lines.append(
        f"{found.n} images in {found.seconds:.1f} s, searched in float32, verified in float64, {torch.get_num_threads()} threads"
    )
    return "\n".join(lines)


def write_violations(found: Attack, model: str, path: Path) -> str:
    """Write the images that changed their class inside their certified radius as .npz, and return how to report them.

    The file has, for k images: ``original`` and ``adversarial`` (k, channels, height, width), ``label``, ``prediction``,
    ``adversarial_prediction``, ``distance`` and ``radius`` (k,), their ``norm``, the name of ``model``, and ``versions`` as JSON.
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
    arrays = {name: array[found.violations].cpu().numpy() for name, array in tensors.items()}
    with atomic_write(path) as temporary:
        about = {"norm": norm_label(found.norm), "model": model, "versions": json.dumps(versions_of(PACKAGES))}
        np.savez(temporary, allow_pickle=False, **about, **arrays)
    return REFUTED.format(violations=int(found.violations.sum()), n=found.n, model=model, path=path)
