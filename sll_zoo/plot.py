"""Pictures of what was measured."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from sll_zoo.evaluation import Evaluation
from sll_zoo.files import written_whole
from sll_zoo.functional.certificate import radius_label


def plot_certified_accuracy(evaluations: Mapping[str, Evaluation], title: str, path: Path) -> Path:
    """Draw certified accuracy against radius, a curve for each evaluation, and return the PNG's path.

    Args:
        evaluations: What :func:`~sll_zoo.evaluation.evaluate` measured, by the name that the legend shows.
        title: What was measured, and on how many images.
        path: Where the picture goes; folders are created.
    """
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="L2 radius in pixels of [0, 1]", ylabel="certified accuracy in %")
    axes.set_title(title, parse_math=False, wrap=True)  # names may hold dollar signs
    for name, evaluation in evaluations.items():
        positive = evaluation.radius[evaluation.radius > 0].numpy()
        steps = np.sort(positive[np.isfinite(positive)])
        # Right of its own radius an image no longer counts: the curve steps down there.
        left = 100 * (len(positive) - np.arange(len(steps) + 1)) / evaluation.n
        axes.step([0, *steps], left, where="post", label=name, linewidth=2)
    radii = list(next(iter(evaluations.values())).counts)
    for eps in radii:
        axes.axvline(eps, color="0.8", linewidth=0.8, zorder=0)
    named = axes.secondary_xaxis("top")
    named.set_xticks(radii, [radius_label(eps) for eps in radii])
    named.spines["top"].set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set(xlim=(0, None), ylim=(0, 100))
    for text in axes.legend(frameon=False).get_texts():
        text.set_parse_math(False)
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=200)
    return path


def image_png(image: Tensor) -> bytes:
    """Return an image (channels, height, width) in [0, 1] as PNG: in colour for three channels, else their mean in grey."""
    pixels = image.permute(1, 2, 0) if len(image) == 3 else image.mean(0)
    buffer = io.BytesIO()
    Image.fromarray((255 * pixels).round().byte().numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """Return a PNG as an address that holds it, for a page that needs no other file.

    Example:
        >>> data_uri(b"PNG")
        'data:image/png;base64,UE5H'
    """
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
