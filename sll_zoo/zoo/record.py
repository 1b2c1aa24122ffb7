"""What is known of a set of weights: the one source of every number that is printed about them.

A record is checked against its schema whenever it is read, from this package or from a repository on the Hub.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from sll_zoo.choices import Bits
from sll_zoo.files import write_json, written_whole
from sll_zoo.zoo.measured import Count, Measurement, Sha256

RECORDS = Path(__file__).with_name("records")


class Training(Struct, frozen=True, kw_only=True):
    """What it takes to repeat a training.

    Attributes:
        command: The command line; None for a training from Python.
        start: Name of the model whose weights it started from; None if they were random, or nobody said.
        seeds: One for each training; the weights are those of the first.
        epochs: Passes over the training images.
        images: How many were seen in all of them; None where nobody counted.
        seconds: Wall time, of all runs if the training was resumed.
        device: On what it ran.
        commit: Of this project, if it ran in a checkout.
        versions: Of the packages at work.
        fingerprint: Of the training images and labels; None where the data module does not tell them in order.
    """

    command: str | None
    start: str | None = None
    seeds: tuple[int, ...]
    epochs: Annotated[int, Meta(ge=0)]
    images: Annotated[int, Meta(ge=0)] | None = None
    seconds: Annotated[float, Meta(ge=0)]
    device: str
    commit: str | None
    versions: dict[str, str]
    fingerprint: Sha256 | None = None


class Record(Struct, frozen=True, kw_only=True):
    """A set of weights: what they are, where they come from, and what they reach.

    Attributes:
        name: ``architecture.tag``.
        family: Of the layers, a key of ``sll_zoo.layers.FAMILIES``.
        parameters: Number of trained numbers.
        sha256: Of the weights' files, one after another, in hexadecimal.
        size: Of them together, in bytes.
        files: How many there are; one is ``model.safetensors``.
        bits: Of a weight in them; fewer than 32 if they are packed. What is measured is the network of these files.
        license: Of the weights, an SPDX identifier in lower case, as the Hub writes it.
        origin: Where weights come from that were not trained here, in a sentence.
        training: How they were trained here.
        measured: What they reach; None if nobody has measured it.
        versions: Of the packages that measured and wrote.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9_]+\.[A-Za-z0-9_-]+$")]
    family: str
    parameters: Count
    sha256: Sha256
    size: Count
    files: Annotated[int, Meta(ge=1, le=99_999)] = 1
    bits: Bits = 32
    license: str = "apache-2.0"
    origin: str | None = None
    training: Training | None
    measured: Measurement | None
    versions: dict[str, str]

    def __post_init__(self) -> None:
        """Refuse repeats without a seed each."""
        if (
            self.measured
            and self.measured.repeats
            and (not self.training or len(self.training.seeds) != 1 + len(self.measured.repeats))
        ):
            raise ValueError("repeats and seeds differ in number")


def to_dict(record: Record) -> dict[str, Any]:
    """Return a record in JSON's types."""
    content: dict[str, Any] = msgspec.to_builtins(record)
    return content


def from_dict(content: Any) -> Record:
    """Return the record that :func:`to_dict` gave.

    Raises:
        msgspec.ValidationError: What is not one, with the path of the first field that is wrong.
    """
    match content:
        case {"measured": {"empirical": None | {} as one, **measured}, **rest}:  # of one attack, as records were once
            content = {**rest, "measured": {**measured, "empirical": [one] if one else []}}
    return msgspec.convert(content, Record)


def read_records(folder: Path = RECORDS) -> dict[str, Record]:
    """Return the records of all shipped weights by ``architecture.tag``."""
    records = (msgspec.json.decode(path.read_bytes(), type=Record) for path in sorted(folder.glob("*.json")))
    return {record.name: record for record in records}


def write_record(record: Record, folder: Path = RECORDS) -> None:
    """Add or replace a record."""
    with written_whole(folder / f"{record.name}.json") as temporary:
        write_json(temporary, to_dict(record))
