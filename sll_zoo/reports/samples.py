"""Certificates as a table, one image a row."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from sll_zoo.files import atomic_write


def write_samples(
    path: Path,
    index: Iterable[int],
    prediction: Iterable[int],
    radius: Iterable[float],
    norm: str,
    label: Iterable[int] | None = None,
) -> None:
    """Write a CSV file with the columns ``index``, ``label`` if given, ``prediction``, ``radius`` and ``norm``.

    Args:
        path: The CSV file; an existing file is replaced whole.
        index: Index of each image in its data set.
        prediction: Its predicted class.
        radius: The radius, in pixels of [0, 1], within which the prediction, right or wrong, cannot change.
        norm: The norm of the radii, ``L2`` or ``Linf``.
        label: Its true class.
    """
    columns = {"index": index, **({} if label is None else {"label": label}), "prediction": prediction, "radius": radius}
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*columns, "norm"])
        rows.writerows((*row, norm) for row in zip(*columns.values(), strict=True))
