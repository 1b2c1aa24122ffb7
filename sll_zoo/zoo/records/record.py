"""The record of a set of weights: the one source of every number that is printed about them.

A record is checked against its schema whenever it is read, from this package or from a repository on the Hub.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from sll_zoo.files import atomic_write, write_json
from sll_zoo.functional.certificate import radius_label
from sll_zoo.zoo.weights.packing import require_bits

RECORDS = Path(__file__).parent
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1)]
Size = Annotated[int, Meta(ge=1, le=10**6)]
Argument = str | Size | tuple[Size, ...]


class DataSource(Struct, frozen=True, kw_only=True):
    """How images are opened: a name in ``sll_zoo.data``, and its arguments.

    Attributes:
        class_path: A data module as configurations name it, ``sll_zoo.data.ImageFolder``; or ``sll_zoo.data.open_data``.
        init_args: The arguments on which the held-out images depend; paths are relative to the current folder.
    """

    class_path: Annotated[str, Meta(pattern=r"^sll_zoo\.data\.[A-Za-z0-9_]+$")]
    init_args: dict[str, Argument] = {}

    def __str__(self) -> str:
        """Return the call in Python."""
        return f"{self.class_path}({', '.join(f'{name}={value!r}' for name, value in self.init_args.items())})"


class AtRadius(Struct, frozen=True, kw_only=True):
    """An accuracy within a ball, in the norm of the measurement.

    Attributes:
        eps: The ball's radius in pixels of [0, 1].
        label: The radius as the literature writes it, ``36/255``.
        accuracy: Fraction of images.
    """

    eps: Annotated[float, Meta(gt=0)]
    label: str
    accuracy: Fraction

    def __post_init__(self) -> None:
        """Refuse a label that does not belong to the number."""
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
    """Empirical accuracy under an attack on some images, beside the certified accuracy of the same images.

    Attributes:
        method: The attack, with its steps and restarts.
        n: Number of images attacked.
        clean: Fraction of them classified correctly; None in older records.
        certified: Fractions of them classified correctly throughout each ball; None in older records.
        accuracy: Fractions of them classified correctly for which the attack found no image of another class in the ball.
    """

    method: str
    n: Count
    clean: Fraction | None = None
    certified: tuple[AtRadius, ...] | None = None
    accuracy: tuple[AtRadius, ...]

    def __post_init__(self) -> None:
        """Refuse an attack that left less than is certified of the same images, or more than were classified correctly."""
        if (self.clean is None) != (self.certified is None):
            raise ValueError("clean and certified accuracy of the attacked images go together")
        if self.clean is None or self.certified is None:
            return
        if [row.eps for row in self.certified] != [row.eps for row in self.accuracy]:
            raise ValueError("the attacked images are certified at other radii")
        pairs = zip(self.certified, self.accuracy, strict=True)
        if any(not proved.accuracy <= left.accuracy <= self.clean for proved, left in pairs):
            raise ValueError("what an attack leaves lies between certified and clean accuracy of the same images")


class Sample(Struct, frozen=True, kw_only=True):
    """Certificates of a few images, to be computed again and compared.

    Attributes:
        index: Place of each image in the held-out part.
        prediction: The class that the network gives to it.
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
    """Accuracies of a network on held-out images.

    Attributes:
        dataset: Name of the data set.
        source: How the held-out images are opened; None if they are outside of the folder that they were measured in, or opened
            by code of others.
        fingerprint: Hash of the held-out images and labels, by :func:`~sll_zoo.data.fingerprint`.
        n: Number of images.
        date: The day of the measurement, in UTC, as ``2026-01-31``; None in older records.
        preparation: How the images were changed before they were certified, as words that follow "they were"; empty if unchanged.
        division: Which images are never divided among train, validation and test, in a clause; empty if each is alone.
        norm: Norm of the perturbations.
        dtype: Precision in which the certificates were computed.
        sound: Whether rounding was subtracted from each radius.
        accuracy: Clean and certified accuracy of the network.
        empirical: Its accuracy under each attack that was tried.
        baseline: Accuracy of a nearest-neighbour margin classifier on the same training images, if it was measured.
        repeats: Accuracies that the same training reached with its other seeds, in their order.
        sample: Certificates of some of the images.
    """

    dataset: str
    source: DataSource | None = None
    fingerprint: Sha256
    n: Count
    date: Annotated[str, Meta(pattern=r"^\d{4}-\d{2}-\d{2}$")] | None = None
    preparation: str = ""
    division: str = ""
    norm: Literal["L2", "Linf"] = "L2"
    dtype: Literal["float32", "float64"] = "float64"
    sound: bool = False
    accuracy: Accuracies
    empirical: tuple[Attacked, ...] = ()
    baseline: Accuracies | None = None
    repeats: tuple[Accuracies, ...] = ()
    sample: Sample

    def __post_init__(self) -> None:
        """Refuse an attack on all images that left less than is certified, and repeats at other radii."""
        certified = {row.eps: row.accuracy for row in self.accuracy.certified}
        if any({row.eps for row in repeat.certified} != certified.keys() for repeat in self.repeats):
            raise ValueError("repeats are certified at other radii")
        whole = [attacked for attacked in self.empirical if attacked.n == self.n]
        if any(row.accuracy < certified.get(row.eps, 0) for attacked in whole for row in attacked.accuracy):
            raise ValueError("an attack leaves fewer images than are certified")


class GrowthStage(Struct, frozen=True, kw_only=True):
    """A part of a training in which the network kept its shape.

    Attributes:
        network: The network in words.
        parameters: Number of its parameters.
        epochs: Passes over the training images.
        seconds: Wall time.
    """

    network: str
    parameters: Count
    epochs: Annotated[int, Meta(ge=0)] = 0
    seconds: Annotated[float, Meta(ge=0)] = 0.0


class Training(Struct, frozen=True, kw_only=True):
    """How a training was done, so that it can be repeated.

    Attributes:
        command: The command line; None for a training from Python.
        start: Name of the model whose weights it started from; None if they were random, or if that is not known.
        seeds: One for each training; the weights are those of the first.
        epochs: Passes over the training images.
        images: Number of images seen in all epochs; None in older records.
        seconds: Wall time, of all runs if the training was resumed.
        stages: Those of a network that grew, in this training (:class:`~sll_zoo.training.callbacks.Grow`) or before it.
        device: The device it ran on, in words.
        commit: Commit of this project, if it ran in a checkout.
        versions: Versions of the packages that it used.
        fingerprint: Hash of the training images and labels; None for a data module other than ``ImageData``.
    """

    command: str | None
    start: str | None = None
    seeds: tuple[int, ...]
    epochs: Annotated[int, Meta(ge=0)]
    images: Annotated[int, Meta(ge=0)] | None = None
    seconds: Annotated[float, Meta(ge=0)]
    stages: tuple[GrowthStage, ...] = ()
    device: str
    commit: str | None
    versions: dict[str, str]
    fingerprint: Sha256 | None = None

    @property
    def seconds_of_all_stages(self) -> float:
        """Wall time of the training with what came before it."""
        return sum(stage.seconds for stage in self.stages) or self.seconds


class Record(Struct, frozen=True, kw_only=True):
    """A set of weights: what they are, where they come from, and what they reach.

    Attributes:
        name: ``architecture.tag``.
        family: Family of the layers, as the network's configuration names it.
        parameters: Number of parameters.
        sha256: Hash of the weights' files, one after another, in hexadecimal.
        size: Size of these files together, in bytes.
        files: Number of these files; a single one is ``model.safetensors``.
        bits: Bits of a weight in these files; fewer than 32 if they are packed. ``measured`` is about the weights as packed.
        license: License of the weights, an SPDX identifier in lower case, as the Hub writes it.
        origin: A sentence on where the weights come from, if they were not trained here.
        training: How they were trained; None if they were not trained here.
        measured: Accuracies; None if they were not measured.
        versions: Versions of the packages that measured and wrote.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9_]+\.[A-Za-z0-9_-]+$")]
    family: str
    parameters: Count
    sha256: Sha256
    size: Count
    files: Annotated[int, Meta(ge=1, le=99_999)] = 1
    bits: int = 32
    license: str = "apache-2.0"
    origin: str | None = None
    training: Training | None
    measured: Measurement | None
    versions: dict[str, str]

    def __post_init__(self) -> None:
        """Refuse bits that no weight is packed with, and repeats without a seed each."""
        require_bits(self.bits)
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
        msgspec.ValidationError: The content is no record; the message names the first field that is wrong.
    """
    match content:
        case {"measured": {"empirical": None | {} as one, **measured}, **rest}:  # an older record, of one attack
            content = {**rest, "measured": {**measured, "empirical": [one] if one else []}}
    return msgspec.convert(content, Record)


def read_records(folder: Path = RECORDS) -> dict[str, Record]:
    """Return the records of all shipped weights by ``architecture.tag``."""
    records = (msgspec.json.decode(path.read_bytes(), type=Record) for path in sorted(folder.glob("*.json")))
    return {record.name: record for record in records}


def write_record(record: Record, folder: Path = RECORDS) -> None:
    """Add or replace a record."""
    with atomic_write(folder / f"{record.name}.json") as temporary:
        write_json(temporary, to_dict(record))
