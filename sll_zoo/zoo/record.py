"""What is known of a set of weights: the one source of every number that is printed about them.

A record is checked against its schema whenever it is read, from this package or from a repository on the Hub.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from sll_zoo.files import write_json, written_whole
from sll_zoo.functional.certificate import radius_label
from sll_zoo.zoo.packing import Bits

RECORDS = Path(__file__).with_name("records")

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]


class AtRadius(Struct, frozen=True, kw_only=True):
    """An accuracy within an L2 ball.

    Attributes:
        eps: The ball's radius in pixels of [0, 1].
        label: The same as the literature writes it, ``36/255``.
        accuracy: Fraction of images.
    """

    eps: Annotated[float, Meta(gt=0)]
    label: str
    accuracy: Fraction

    def __post_init__(self) -> None:
        """Refuse a text that says another radius than the number."""
        if self.label != radius_label(self.eps):
            raise ValueError(f"eps {self.eps} is written {radius_label(self.eps)}, not {self.label}")


class Accuracies(Struct, frozen=True, kw_only=True):
    """Clean and certified accuracy of one classifier.

    Attributes:
        clean: Fraction of images classified correctly.
        mean_radius: Mean certified radius, where a wrong prediction counts as 0; None if it is infinite.
        certified: Fractions classified correctly throughout a ball, by ascending radius.
    """

    clean: Fraction
    mean_radius: Annotated[float, Meta(ge=0)] | None
    certified: tuple[AtRadius, ...]

    def __post_init__(self) -> None:
        """Refuse accuracies that rise with the radius."""
        if any(a.eps >= b.eps or a.accuracy < b.accuracy for a, b in itertools.pairwise(self.certified)):
            raise ValueError("certified accuracies must fall as the radii rise")
        if self.certified and self.certified[0].accuracy > self.clean:
            raise ValueError("more images are certified than classified correctly")


class Attacked(Struct, frozen=True, kw_only=True):
    """What an attack left.

    Attributes:
        method: The attack, with its steps and restarts.
        n: Number of images attacked.
        accuracy: Fractions classified correctly of which no image of another class was found in the ball.
    """

    method: str
    n: Count
    accuracy: tuple[AtRadius, ...]


class Sample(Struct, frozen=True, kw_only=True):
    """Certificates of a few images, to be computed again and compared.

    Attributes:
        index: Of each image in the held-out part.
        prediction: Its class by the network.
        radius: Its certified radius; None if it is infinite.
    """

    index: tuple[Annotated[int, Meta(ge=0)], ...]
    prediction: tuple[Annotated[int, Meta(ge=0)], ...]
    radius: tuple[Annotated[float, Meta(ge=0)] | None, ...]

    def __post_init__(self) -> None:
        """Refuse columns of unequal length."""
        if not len(self.index) == len(self.prediction) == len(self.radius):
            raise ValueError("index, prediction and radius differ in length")


class Measurement(Struct, frozen=True, kw_only=True):
    """What weights reach on held-out images.

    Attributes:
        dataset: Name of the data set.
        fingerprint: Of the held-out images and labels, by :func:`~sll_zoo.data.fingerprint`.
        n: Number of images.
        preparation: What was done to the images that are certified, after "they were"; empty if nothing was.
        norm: Of the perturbations.
        dtype: In which the certificates were computed.
        sound: Whether rounding was subtracted from each radius.
        accuracy: Of the network.
        empirical: Of the network under attack, if it was attacked.
        baseline: Of a nearest-neighbour margin classifier on the same training images, if it was measured.
        sample: Certificates of some of the images.
    """

    dataset: str
    fingerprint: Sha256
    n: Count
    preparation: str = ""
    norm: Literal["L2"] = "L2"
    dtype: Literal["float32", "float64"] = "float64"
    sound: bool = False
    accuracy: Accuracies
    empirical: Attacked | None = None
    baseline: Accuracies | None = None
    sample: Sample

    def __post_init__(self) -> None:
        """Refuse an attack on all images that left less than is certified."""
        if self.empirical and self.empirical.n == self.n:
            certified = {row.eps: row.accuracy for row in self.accuracy.certified}
            if any(row.accuracy < certified.get(row.eps, 0) for row in self.empirical.accuracy):
                raise ValueError("an attack leaves fewer images than are certified")


class Training(Struct, frozen=True, kw_only=True):
    """What it takes to repeat a training.

    Attributes:
        command: The command line; None for a training from Python.
        start: Name of the model whose weights it started from; None if they were random, or nobody said.
        seeds: One for each training; the weights are those of the first.
        epochs: Passes over the training images.
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
        sha256: Of ``model.safetensors``, in hexadecimal.
        size: Of that file, in bytes.
        bits: Of a weight in that file; fewer than 32 if they are packed. What is measured is the network of that file.
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
    bits: Bits = 32
    license: str = "apache-2.0"
    origin: str | None = None
    training: Training | None
    measured: Measurement | None
    versions: dict[str, str]


def to_dict(record: Record) -> dict[str, Any]:
    """Return a record in JSON's types."""
    content: dict[str, Any] = msgspec.to_builtins(record)
    return content


def from_dict(content: Any) -> Record:
    """Return the record that :func:`to_dict` gave.

    Raises:
        msgspec.ValidationError: What is not one, with the path of the first field that is wrong.
    """
    return msgspec.convert(content, Record)


def read_records(folder: Path = RECORDS) -> dict[str, Record]:
    """Return the records of all shipped weights by ``architecture.tag``."""
    records = (msgspec.json.decode(path.read_bytes(), type=Record) for path in sorted(folder.glob("*.json")))
    return {record.name: record for record in records}


def write_record(record: Record, folder: Path = RECORDS) -> None:
    """Add or replace a record."""
    with written_whole(folder / f"{record.name}.json") as temporary:
        write_json(temporary, to_dict(record))
