"""What a network's page shows beyond its card: certified accuracy at any radius, of each class, confusions, and images."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sll_zoo.files import json_number
from sll_zoo.functional.certificate import radius_label
from sll_zoo.reports.plot import array_png, data_uri
from sll_zoo.reports.words import percent
from sll_zoo.zoo.publishing.results import IMAGES_FILE, Row, read_samples
from sll_zoo.zoo.records.record import Measurement

# The drawing of the curve, in units of the SVG; points that it is drawn with at most.
WIDTH, HEIGHT, POINTS = 640, 240, 200
# A matrix of confusions is shown for so many classes; for more, and beside it, a list of the most frequent ones.
LARGEST_MATRIX, CONFUSIONS = 10, 12


@dataclass(frozen=True)
class Tile:
    """An image of ``images.png``: its row in ``samples.csv``, and an address that holds it."""

    row: Row
    address: str
    label: str
    rival: str
    radius: str


class Results:
    """What ``samples.csv`` and ``images.png`` of a shipped network say.

    Args:
        folder: The folder of the network, with both files.
        measured: The measurement in its record.
        class_names: Names of the classes.
    """

    def __init__(self, folder: Path, measured: Measurement, class_names: list[str]) -> None:
        self.rows = read_samples(folder)
        self.measured = measured
        self.class_names = class_names
        self.eps = [row.eps for row in measured.accuracy.certified]
        self.labels = [radius_label(eps) for eps in self.eps]
        self.radii: list[list[float]] = [[] for _ in class_names]
        self.totals = Counter(row.label for row in self.rows)
        for row in self.rows:
            if row.label == row.prediction:
                self.radii[row.label].append(row.radius)
        for radii in self.radii:
            radii.sort()
        self._sheet = np.asarray(Image.open(folder / IMAGES_FILE))

    @property
    def largest(self) -> float:
        """The radius at which the slider ends: the last certified image, or the last radius of the record."""
        finite = [radius for radii in self.radii for radius in radii if math.isfinite(radius)]
        return max([*finite, *self.eps])

    @property
    def in_255ths(self) -> int:
        """The end of the slider in 255ths."""
        return math.ceil(self.largest * 255)

    def data(self) -> dict[str, object]:
        """Return what the script needs: the number of images, and the radii of those classified correctly, of each class."""
        return {
            "n": len(self.rows),
            "radii": [list(map(json_number, radii)) for radii in self.radii],
        }

    def by_class(self) -> list[tuple[int, str, int, list[str]]]:
        """Return label, name, number of images, and clean and certified accuracies in words, for each class that has images."""
        return [
            (label, name, n, [percent(len(radii) / n), *(percent(_above(radii, eps) / n) for eps in self.eps)])
            for label, (name, radii) in enumerate(zip(self.class_names, self.radii, strict=True))
            if (n := self.totals[label])
        ]

    def curve(self) -> str:
        """Return the path of certified accuracy against radius, in the units of an SVG of ``WIDTH`` × ``HEIGHT``."""
        radii = sorted(radius for one in self.radii for radius in one)
        steps = [self.largest * step / POINTS for step in range(POINTS + 1)]
        heights = [HEIGHT * (1 - (_above(radii, eps) if eps else len(radii)) / len(self.rows)) for eps in steps]
        return "M" + " L".join(
            f"{WIDTH * eps / self.largest:.1f} {height:.1f}" for eps, height in zip(steps, heights, strict=True)
        )

    def recorded(self) -> list[tuple[str, float]]:
        """Return the record's radii, each as the literature writes it and as a number."""
        return list(zip(self.labels, self.eps, strict=True))

    def marks(self) -> list[tuple[str, float]]:
        """Return the record's radii: in 255ths, and place in the SVG."""
        return [(f"{255 * eps:.4g}", WIDTH * eps / self.largest) for eps in self.eps]

    def matrix(self) -> list[list[int]]:
        """Return how many images of each class (row) are taken for each (column); an empty list for too many classes."""
        if len(self.class_names) > LARGEST_MATRIX:
            return []
        counts = Counter((row.label, row.prediction) for row in self.rows)
        classes = range(len(self.class_names))
        return [[counts[label, prediction] for prediction in classes] for label in classes]

    def confusions(self) -> list[tuple[str, str, int]]:
        """Return the most frequent confusions: class, what it is taken for, and how many images."""
        counts = Counter((row.label, row.prediction) for row in self.rows if row.label != row.prediction)
        return [(self.class_names[a], self.class_names[b], n) for (a, b), n in counts.most_common(CONFUSIONS)]

    def tiles(self, mark: str) -> list[Tile]:
        """Return the images that are shown as ``least`` or ``most`` certain, by radius."""
        shown = [row for row in self.rows if row.shown]
        pixels = np.split(self._sheet, len(shown), axis=1)
        tiles = [self._tile(row, image) for row, image in zip(shown, pixels, strict=True) if row.shown == mark]
        return sorted(tiles, key=lambda tile: tile.row.radius, reverse=mark == "most")

    def _tile(self, row: Row, pixels: np.ndarray) -> Tile:
        side = math.isqrt(pixels.shape[0])
        if pixels.shape[1] == 1 and side**2 == pixels.shape[0]:  # an image that is read pixel by pixel
            pixels = pixels.reshape(side, side)
        names = self.class_names
        return Tile(row, data_uri(array_png(pixels / 255)), names[row.label], names[row.rival], f"{row.radius:.3g}")


def _above(ascending: list[float], eps: float) -> int:
    return len(ascending) - bisect_right(ascending, eps)
