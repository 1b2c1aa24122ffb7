"""CSV files that come with images."""

from __future__ import annotations

import csv
from pathlib import Path

from sll_zoo.errors import InputError


def read_rows(path: Path, remedy: str, delimiter: str = ",") -> list[list[str]]:
    """Return the rows of a CSV file, the header first, without empty ones.

    Raises:
        InputError: A file that is missing, or no text; with this remedy.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # some programs write a byte order mark
            return [row for row in csv.reader(file, delimiter=delimiter) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error})", remedy) from error
