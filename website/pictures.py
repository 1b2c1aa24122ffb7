"""Pictures of a certificate, and of what a choice of T does: `python -m website.pictures` writes both into docs/assets/."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sll_zoo.files import atomic_write
from sll_zoo.functional.rescaling import abs_gram, gershgorin, tightened
from sll_zoo.functional.spectral import squared_spectral_norm_upper_bound
from website.drawing import BLUE, FAINT, GREEN, INK, ORANGE, PURPLE, label, style, svg

ASSETS = Path(__file__).parents[1] / "docs/assets"
# The lead of a class over another one in the plane: SLOPE times the distance to the nearest of two discs of the other class.
CENTRES, SIZES, SLOPE = np.array([[2.3, 1.1], [1.9, -1.9]]), np.array([1.15, 0.9]), 0.75


def lead(points: np.ndarray) -> np.ndarray:
    """Return f_y − f_j at points (..., 2): a function that is 1-Lipschitz."""
    distance = np.linalg.norm(points[..., None, :] - CENTRES, axis=-1) - SIZES
    return SLOPE * distance.min(-1)


def certificate() -> Figure:
    """Draw a ball that stays on its side of the boundary, and beside it the proof: the lead cannot fall faster than L."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    plane, way = figure.subplots(1, 2, width_ratios=[1, 1.15])
    image = np.zeros(2)
    radius = float(lead(image))
    _plane(plane, image, radius)
    _way(way, image, radius)
    return figure


def _plane(axes: Axes, image: np.ndarray, radius: float) -> None:
    grid = np.stack(np.meshgrid(np.linspace(-1.9, 2.6, 300), np.linspace(-1.9, 1.9, 300)), -1)
    axes.contourf(*np.moveaxis(grid, -1, 0), lead(grid), levels=[-9, 0], colors=[ORANGE], alpha=0.25)
    axes.contour(*np.moveaxis(grid, -1, 0), lead(grid), levels=[0], colors=[ORANGE], linewidths=2)
    turn = np.linspace(0, 2 * np.pi, 200)
    axes.fill(radius * np.cos(turn), radius * np.sin(turn), color=BLUE, alpha=0.25, linewidth=0)
    axes.plot(radius * np.cos(turn), radius * np.sin(turn), color=BLUE, linewidth=2)
    axes.plot([0, -radius], [0, 0], color=BLUE, linewidth=1.5)
    axes.plot(*image, "o", color=INK, markersize=6)
    label(axes, 0.08, 0.08, "image x")
    label(axes, -radius / 2, 0.07, "r", BLUE, ha="center")
    label(axes, -0.2, -radius - 0.1, "certified: every point\nof the ball is of class y", BLUE, ha="center", va="top")
    label(axes, 2.55, 1.5, "class j", ORANGE, ha="right")
    label(axes, 0.35, 1.55, "boundary", ORANGE, ha="center")
    axes.annotate("", (1.22, 1.45), (0.78, 1.58), arrowprops={"arrowstyle": "-", "color": ORANGE})
    axes.set_aspect("equal")
    axes.set_axis_off()


def _way(axes: Axes, image: np.ndarray, radius: float) -> None:
    direction = CENTRES[0] / np.linalg.norm(CENTRES[0])
    distance = np.linspace(0, 1.75, 200)
    axes.plot(distance, lead(image + distance[:, None] * direction), color=INK, linewidth=2)
    below = distance <= radius
    axes.plot(distance[below], radius - distance[below], color=BLUE, linewidth=2)
    axes.fill_between(distance[below], 0, radius - distance[below], color=BLUE, alpha=0.25, linewidth=0)
    axes.axhline(0, color=FAINT, linewidth=1)
    end = radius / SLOPE
    label(axes, 0.55, 0.75, "the lead, along one way")
    label(axes, 0.06, 0.1, "every way\nstays above", BLUE)
    label(axes, radius, -0.06, "r", BLUE, ha="center", va="top")
    label(axes, end + 0.03, 0.05, "the class changes", ORANGE)
    axes.plot(end, 0, "o", color=ORANGE)
    axes.set_xticks([])
    axes.set_yticks([radius], ["f_y − f_j\nat x"], parse_math=False)
    axes.set(xlabel="distance from x", xlim=(0, 1.75), ylim=(-0.3, radius * 1.08))
    axes.spines["bottom"].set_visible(False)


def remaining(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the singular values of W T^{-1/2}, the largest first, for each choice of T, of the matrix ``weight`` = Wᵀ."""
    equal = weight.new_zeros(len(weight))
    choices = {
        "sll, aol: row sums": gershgorin(abs_gram(weight), equal),
        "sll2": tightened(weight, equal, 2),
        "sll8": tightened(weight, equal, 8),
        "cpl, spectral: the norm": squared_spectral_norm_upper_bound(weight).expand(len(weight)),
    }
    values = {name: torch.linalg.svdvals(weight / t.sqrt()[:, None]) for name, t in choices.items()}
    return {**values, "orthogonal, bro: all of WᵀW": torch.ones(len(weight), dtype=weight.dtype)}


def families() -> Figure:
    """Draw what each choice of T leaves of the singular values of one random matrix, whose columns are of unequal lengths."""
    random = torch.Generator().manual_seed(0)
    lengths = torch.randn(48, 1, generator=random, dtype=torch.float64).div(2).exp()
    weight = lengths * torch.randn(48, 64, generator=random, dtype=torch.float64)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.add_subplot(xlabel="place, the largest first", ylabel="singular value of W T$^{-1/2}$")
    for (name, values), colour in zip(remaining(weight).items(), (BLUE, GREEN, PURPLE, ORANGE, INK), strict=True):
        axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=2, label=name)
    axes.set(xlim=(1, len(weight)), ylim=(0, 1.05), xticks=[1, 12, 24, 36, 48])
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


if __name__ == "__main__":
    with style():
        drawn = {
            "certificate": svg(certificate(), "A certified ball, and the proof of its radius"),
            "families": svg(families(), "Singular values of W T^{-1/2} for each choice of T"),
        }
    for name, text in drawn.items():
        with atomic_write(ASSETS / f"{name}.svg") as temporary:
            temporary.write_text(text, "utf-8")
