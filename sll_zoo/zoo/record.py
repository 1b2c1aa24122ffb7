"""What was measured of each set of weights that the zoo ships: the one source of every number that is printed about them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sll_zoo.files import written_whole

RECORDS_FILE = Path(__file__).with_name("records.json")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Accuracies of one classifier on one set of images.

    Attributes:
        clean: Fraction of images classified correctly.
        certified: The same throughout an L2 ball, by the ball's radius as the literature writes it (``36/255``).
    """

    clean: float
    certified: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Record:
    """A set of weights, where it comes from, and what it reaches.

    Attributes:
        family: Of its layers, a key of ``sll_zoo.layers.FAMILIES``.
        sha256: Of ``model.safetensors``, in hexadecimal.
        parameters: Number of trained numbers.
        dataset: On which it was trained and measured.
        n: Number of held-out images measured.
        measured: What the weights reach on them, certified in float64.
        baseline: What a nearest-neighbour margin classifier on the same training images reaches, if it was measured.
        training: The configuration, its seed and epochs, and the seconds that training took.
        device: The kind of device that trained.
        versions: Of the packages at work.
    """

    family: str
    sha256: str
    parameters: int
    dataset: str
    n: int
    measured: Measurement
    baseline: Measurement | None
    training: dict[str, Any]
    device: str
    versions: dict[str, str]

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Record:
        """Return the record that ``dataclasses.asdict`` was given."""
        baseline = fields["baseline"] and Measurement(**fields["baseline"])
        return cls(**{**fields, "measured": Measurement(**fields["measured"]), "baseline": baseline})


def read_records(path: Path = RECORDS_FILE) -> dict[str, Record]:
    """Return the records of all shipped weights by ``architecture.tag``."""
    return {name: Record.from_dict(fields) for name, fields in json.loads(path.read_text("utf-8")).items()}


def write_record(name: str, record: Record, path: Path = RECORDS_FILE) -> None:
    """Add or replace one record."""
    records = {**read_records(path), name: record}
    with written_whole(path) as temporary:
        write_json(temporary, {key: asdict(value) for key, value in sorted(records.items())})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write readable JSON."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
