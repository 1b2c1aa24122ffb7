"""What a shipped network makes of every image that it was measured on, and a few of these images.

``samples.csv`` has a row for each image, in their order, with the columns of :class:`Row`. ``images.png`` has the images that are
marked there as shown, side by side in the order of their rows. Both are for pages about the network alone.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sll_zoo.certificates.evaluation import Evaluation
from sll_zoo.data.images import evenly_spaced
from sll_zoo.files import atomic_write
from sll_zoo.functional.certificate import certified_counts
from sll_zoo.reports.plot import image_png

SAMPLES_FILE, IMAGES_FILE = RESULTS = ("samples.csv", "images.png")
# Numbers of images shown: of those classified correctly, with the smallest and the largest radii; of all others, evenly spaced.
LEAST, MOST, EXAMPLES = 8, 8, 10
# Digits of a radius after the point, if the counts at the recorded radii allow so few.
DIGITS = 5


@dataclass(frozen=True, slots=True)
class Row:
    """A row of ``samples.csv``.

    Attributes:
        index: Place of the image in the held-out part.
        label: Its class.
        prediction: The class that the network gives to it.
        rival: The class that limits the radius.
        radius: The radius within which the prediction, right or wrong, cannot change, rounded down.
        shown: ``least`` or ``most`` certain, ``example``, or empty if it is not in ``images.png``.
    """

    index: int
    label: int
    prediction: int
    rival: int
    radius: float
    shown: str


def write_results(folder: Path, evaluation: Evaluation, image: Callable[[int], Tensor]) -> None:
    """Write ``samples.csv`` and ``images.png``.

    Args:
        folder: The folder of the network.
        evaluation: Evaluation of the network on all images of its record, in their order.
        image: Returns the image at a place, (channels, height, width) in [0, 1].
    """
    marks = _shown(evaluation)
    columns = [column.tolist() for column in (evaluation.label, evaluation.prediction, evaluation.rival)]
    radii, digits = _rounded_down(evaluation)
    with atomic_write(folder / SAMPLES_FILE) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(field.name for field in fields(Row))
        for place, (*classes, radius) in enumerate(zip(*columns, radii.tolist(), strict=True)):
            rows.writerow([place, *classes, f"{radius:.{digits}f}", marks.get(place, "")])
    with atomic_write(folder / IMAGES_FILE) as temporary:
        temporary.write_bytes(image_png(torch.cat([image(place) for place in sorted(marks)], 2)))


def read_samples(folder: Path) -> list[Row]:
    """Return the rows of ``samples.csv``; an empty list if there is none."""
    path = folder / SAMPLES_FILE
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Row(int(index), int(label), int(prediction), int(rival), float(radius), shown)
            for index, label, prediction, rival, radius, shown in list(csv.reader(file))[1:]
        ]


def remove_results(folder: Path) -> None:
    """Remove both files, which are of other weights, from a folder."""
    for name in RESULTS:
        (folder / name).unlink(missing_ok=True)


def _shown(evaluation: Evaluation) -> dict[int, str]:
    """Return the places of the images that are shown, and as what."""
    correct = evaluation.correct.nonzero().squeeze(1)
    ascending = correct[evaluation.proved[correct].argsort(stable=True)].tolist()
    least = ascending[:LEAST]
    most = ascending[len(least) :][-MOST:]
    others = [place for place in range(evaluation.n) if place not in {*least, *most}]
    examples = [others[place] for place in evenly_spaced(len(others), EXAMPLES)]
    return {**dict.fromkeys(least, "least"), **dict.fromkeys(most, "most"), **dict.fromkeys(examples, "example")}


def _rounded_down(evaluation: Evaluation) -> tuple[np.ndarray, int]:
    """Return the radii rounded down, so that they stay proved, to so few digits that as many images exceed each of the counts."""
    for digits in range(DIGITS, 16):
        radii = np.floor(evaluation.proved.numpy() * 10.0**digits) / 10.0**digits
        found = certified_counts(evaluation.prediction, torch.from_numpy(radii), evaluation.label, list(evaluation.counts))
        if found.tolist() == list(evaluation.counts.values()):
            return radii, digits
    return evaluation.proved.numpy(), 17
