"""Plots of measurements and trainings, and images as PNG."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from sll_zoo.certificates.evaluation import Evaluation
from sll_zoo.files import atomic_write
from sll_zoo.functional.certificate import radius_label
from sll_zoo.functional.norms import common_norm, norm_label


def plot_certified_accuracy(evaluations: Mapping[str, Evaluation], title: str, path: Path) -> Path:
    """Draw certified accuracy against radius, a curve for each evaluation, and return the PNG's path.

    Args:
        evaluations: Results of :func:`~sll_zoo.certificates.evaluation.evaluate`, by the name that the legend shows.
        title: What was measured, and on how many images.
        path: File of the picture; its folders are created.

    Raises:
        InputError: Evaluations in two norms.
    """
    norm = norm_label(common_norm(evaluation.norm for evaluation in evaluations.values()))
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel=f"{norm} radius in pixels of [0, 1]", ylabel="certified accuracy in %")
    axes.set_title(title, parse_math=False, wrap=True)  # a title may hold dollar signs, which are no formula
    for name, evaluation in evaluations.items():
        positive = evaluation.radius[evaluation.radius > 0].numpy()
        steps = np.sort(positive[np.isfinite(positive)])
        # The curve steps down at each image's radius: beyond it, that image is not certified.
        left = 100 * (len(positive) - np.arange(len(steps) + 1)) / evaluation.n
        axes.step([0, *steps], left, where="post", label=name, linewidth=2)
    end = max(_end_of_sight(evaluation) for evaluation in evaluations.values())
    radii = [eps for eps in next(iter(evaluations.values())).counts if eps <= end]
    for eps in radii:
        axes.axvline(eps, color="0.8", linewidth=0.8, zorder=0)
    named = axes.secondary_xaxis("top")
    named.set_xticks(radii, _side_by_side([radius_label(eps) for eps in radii], [eps / end for eps in radii]), fontsize=9)
    named.spines["top"].set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlim=(0, end), ylim=(0, 100))
    for text in axes.legend(frameon=False).get_texts():
        text.set_parse_math(False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=200)
    return path


def _end_of_sight(evaluation: Evaluation) -> float:
    """Return the radius beyond which less than a hundredth of the images is certified: of the curve nothing is left to see."""
    finite = evaluation.radius[evaluation.radius.isfinite()].numpy()
    seen = np.sort(finite)[::-1][: max(1, evaluation.n // 100)]
    return 1.05 * float(seen[-1]) if len(seen) and seen[-1] > 0 else 1.0


def _side_by_side(labels: Sequence[str], places: Sequence[float]) -> list[str]:
    """Return labels at ``places``, fractions of the axis, raised by a line where they would run into the one before."""
    written: list[str] = []
    end = [-1.0, -1.0]  # of the last label in each of two lines
    for text, place in zip(labels, places, strict=True):
        half = 0.008 * (len(text) + 1)  # of the axis of a figure of six inches
        line = 0 if place - half >= end[0] else 1
        end[line] = place + half
        written.append(text + "\n" * line)
    return written


def plot_training(history: Sequence[Mapping[str, float]], title: str, path: Path) -> Path:
    """Draw losses, accuracies and learning rate over the epochs, one above the other, and return the PNG's path.

    Args:
        history: For each epoch ``epoch``, and those that exist of ``train/epoch_loss``, ``val/loss``, ``val/acc``,
            ``val/certified_acc_36`` and so on (ε in 255ths), and ``train/lr``.
        title: What was trained.
        path: File of the picture; its folders are created.
    """
    certified = "val/certified_acc_"
    levels = sorted({float(name.removeprefix(certified)) for row in history for name in row if name.startswith(certified)})
    accuracies = {"val/acc": "clean", **{f"{certified}{level:g}": f"at {radius_label(level / 255)}" for level in levels}}
    figure = Figure(figsize=(7, 8), layout="constrained")
    loss, accuracy, rate = figure.subplots(3, sharex=True, height_ratios=[3, 4, 2])
    loss.set_title(title, parse_math=False, wrap=True, loc="left")
    _draw_lines(loss, history, {"train/epoch_loss": "training", "val/loss": "validation"}, "loss")
    _draw_lines(accuracy, history, accuracies, "certified accuracy in %", scale=100)
    accuracy.set_ylim(0, 100)
    _draw_lines(rate, history, {"train/lr": "learning rate"}, "learning rate")
    rate.set(xlabel="epoch", ylim=(0, None))
    rate.xaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return path


def _draw_lines(
    axes: Any, history: Sequence[Mapping[str, float]], names: Mapping[str, str], label: str, scale: float = 1.0
) -> None:
    """Draw a line for each of ``names`` that was measured, from dark to light in their order."""
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(names)))
    for (name, text), colour in zip(names.items(), colours, strict=True):
        points = [(row["epoch"], scale * row[name]) for row in history if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=text, color=colour, linewidth=2, marker="." if len(points) < 20 else None)
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    if len(names) > 1 and axes.lines:
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def image_png(image: Tensor) -> bytes:
    """Return an image (channels, height, width) in [0, 1] as PNG: in colour for three channels, else their mean in grey."""
    pixels = image.permute(1, 2, 0) if len(image) == 3 else image.mean(0)
    return array_png(pixels.numpy())


def array_png(pixels: np.ndarray) -> bytes:
    """Return an array (height, width), or (height, width, 3) in colour, in [0, 1] as PNG."""
    buffer = io.BytesIO()
    Image.fromarray((255 * pixels).round().astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """Return a PNG as an address that holds it, for a page that needs no other file.

    Example:
        >>> data_uri(b"PNG")
        'data:image/png;base64,UE5H'
    """
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
