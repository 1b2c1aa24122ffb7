"""Pictures of what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sll_zoo.evaluation import Evaluation
from sll_zoo.files import written_whole


def plot_certified_accuracy(evaluations: Mapping[str, Evaluation], title: str, path: Path) -> Path:
    """Draw certified accuracy against radius, a curve for each evaluation, and return the PNG's path.

    Args:
        evaluations: What :func:`~sll_zoo.evaluation.evaluate` measured, by the name that the legend shows.
        title: What was measured, and on how many images.
        path: Where the picture goes; folders are created.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="L2 radius in pixels of [0, 1]", ylabel="certified accuracy in %", title=title)
    for name, evaluation in evaluations.items():
        radius = np.sort(evaluation.radius[evaluation.radius > 0].numpy())
        # Right of its own radius an image no longer counts: the curve steps down there.
        axes.step([0, *radius], 100 * np.arange(len(radius), -1, -1) / evaluation.n, where="post", label=name)
    for eps in next(iter(evaluations.values())).certified:
        axes.axvline(eps, color="0.8", linewidth=0.8, zorder=0)
    axes.set(xlim=(0, None), ylim=(0, 100))
    axes.legend()
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return path
