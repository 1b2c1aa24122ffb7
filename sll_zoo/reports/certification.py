"""The report of a certification: a page to mail, and the same numbers for a program to read.

It holds all that is needed to repeat the measurement: the command, the sha256 of weights and images, and the versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sll_zoo.certificates.evaluation import Evaluation
from sll_zoo.data import HeldOut
from sll_zoo.environment import versions_of, weights_sha256
from sll_zoo.errors import ConfigError
from sll_zoo.files import atomic_write, json_number, obstacle, obstacle_to_file, write_json
from sll_zoo.functional.certificate import radius_label
from sll_zoo.functional.norms import norm_label
from sll_zoo.models import LipschitzClassifier
from sll_zoo.reports.plot import data_uri, image_png, plot_certified_accuracy
from sll_zoo.reports.samples import write_samples
from sll_zoo.reports.words import percent

PAGE, NUMBERS, SAMPLES, CURVE = FILES = ("report.html", "report.json", "samples.csv", "curve.png")
TEMPLATE = "certification.html.jinja"
PACKAGES = ("sll_zoo", "torch", "timm", "numpy")
# Number of images shown with the largest radius, and with the smallest: two rows of six, or four of three on a phone.
SHOWN = 12
# Number of confusions shown, each by one image.
CONFUSIONS = 6


@dataclass(frozen=True, kw_only=True)
class ClassResult:
    """What a network makes of the images of one class.

    Attributes:
        name: The class.
        n: Number of its images.
        correct: How many are classified correctly.
        counts: For each radius of the report, how many are classified correctly throughout that ball.
    """

    name: str
    n: int
    correct: int
    counts: list[int]


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """One class taken for another.

    Attributes:
        label: The class of the images.
        prediction: The class that they are taken for.
        n: How many images are.
        index: The index of the one with the largest radius.
    """

    label: str
    prediction: str
    n: int
    index: int


@dataclass(frozen=True, kw_only=True)
class Report:
    """The content of ``report.json``: which network was measured on which data, and the results.

    Attributes:
        command: Command that repeats the measurement.
        model: Name of the network, or the place that it was loaded from.
        parameters: Number of trained numbers.
        weights_sha256: Sha256 of the weights, by :func:`~sll_zoo.environment.weights_sha256`.
        data: Name of the data set, or the folder.
        about: How the images were changed, and which were never divided among the parts, in words; empty if neither.
        data_sha256: Sha256 of the measured images and labels, by :func:`~sll_zoo.data.fingerprint`.
        n: Number of images measured.
        available: Number of images in the data set.
        norm: Norm of all radii, ``L2`` or ``Linf``.
        sound: Whether the radii account for rounding.
        dtype: Dtype in which the certificates were computed.
        device: Kind of device that computed them.
        threads: Number of CPU threads.
        versions: Versions of the packages used.
        correct: How many images are classified correctly.
        radii: Radii in pixels of [0, 1].
        counts: For each of them, how many images are classified correctly throughout that ball.
        classes: The same for each class that has images, in the order of the labels.
        confusions: Classes that are taken for others, the most frequent ones first.
        mean_radius: Mean certified radius; a wrong prediction counts as 0. Infinite numbers are null in JSON.
        slack: The most that was subtracted from a radius for rounding.
        seconds: Wall time of the certification.
    """

    command: str
    model: str
    parameters: int
    weights_sha256: str
    data: str
    about: str
    data_sha256: str
    n: int
    available: int
    norm: str
    sound: bool
    dtype: str
    device: str
    threads: int
    versions: dict[str, str]
    correct: int
    radii: list[float]
    counts: list[int]
    classes: list[ClassResult]
    confusions: list[Confusion]
    mean_radius: float
    slack: float
    seconds: float


def describe_run(
    model: LipschitzClassifier, evaluation: Evaluation, data: HeldOut, command: str, name: str, data_sha256: str
) -> Report:
    """Return the report of an evaluation.

    Args:
        model: The network.
        evaluation: Result of :func:`~sll_zoo.evaluate` for the network on ``data``.
        data: The images.
        command: Command that repeats the measurement.
        name: Name by which ``create_model`` loads the network.
        data_sha256: Result of :func:`~sll_zoo.data.fingerprint`.
    """
    return Report(
        command=command,
        model=name,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        weights_sha256=weights_sha256(model),
        data=data.name,
        about=data.about,
        data_sha256=data_sha256,
        n=evaluation.n,
        available=len(data.samples),
        norm=norm_label(evaluation.norm),
        sound=evaluation.sound,
        dtype=str(evaluation.proved.dtype).removeprefix("torch."),
        device=next(model.parameters()).device.type,
        threads=torch.get_num_threads(),
        versions=versions_of(PACKAGES),
        correct=int(evaluation.correct.sum()),
        radii=list(evaluation.counts),
        counts=list(evaluation.counts.values()),
        classes=results_by_class(evaluation, data.class_names),
        confusions=confusions(evaluation, data),
        mean_radius=evaluation.mean_radius,
        slack=evaluation.slack.max().item(),
        seconds=evaluation.seconds,
    )


def results_by_class(evaluation: Evaluation, class_names: Sequence[str]) -> list[ClassResult]:
    """Return the results of each class that has images."""
    everything = torch.ones_like(evaluation.correct)
    chosen = [everything, evaluation.correct, *(evaluation.radius > eps for eps in evaluation.counts)]
    totals, correct, *counts = (evaluation.label[some].bincount(minlength=len(class_names)).tolist() for some in chosen)
    return [
        ClassResult(name=name, n=totals[label], correct=correct[label], counts=[count[label] for count in counts])
        for label, name in enumerate(class_names)
        if totals[label]
    ]


def confusions(evaluation: Evaluation, data: HeldOut) -> list[Confusion]:
    """Return which classes are taken for which, the most frequent confusions first."""
    wrong = evaluation.proved.argsort(descending=True, stable=True)
    wrong = wrong[~evaluation.correct[wrong]]
    places: dict[tuple[int, int], list[int]] = {}
    for place, label, prediction in zip(
        *(column.tolist() for column in (wrong, evaluation.label[wrong], evaluation.prediction[wrong])), strict=True
    ):
        places.setdefault((label, prediction), []).append(place)
    return [
        Confusion(
            label=data.class_names[label], prediction=data.class_names[prediction], n=len(found), index=data.indices[found[0]]
        )
        for (label, prediction), found in sorted(places.items(), key=lambda pair: -len(pair[1]))
    ]


def check_folder(folder: Path, files: Iterable[str] = FILES) -> None:
    """Raise ConfigError if a report cannot be written to ``folder``; nothing is created."""
    if problem := obstacle(folder):
        raise ConfigError(problem, "name a folder for the report")
    for name in files:
        if problem := obstacle_to_file(folder / name):
            raise ConfigError(problem, "remove it, or name another folder for the report")


def write_report(folder: Path, report: Report, evaluation: Evaluation, data: HeldOut) -> Path:
    """Write ``report.json``, ``samples.csv``, ``curve.png`` and ``report.html``, each whole, and return the page's path.

    Args:
        folder: Folder of the report; it is created, and files of these names in it are replaced one by one.
        report: Result of :func:`describe_run`.
        evaluation: The measurement.
        data: The images.
    """
    # Slow parts come first and the files then follow quickly: an interruption hardly ever leaves files of two measurements.
    curve = plot_certified_accuracy({report.model: evaluation}, f"{report.data}: {report.n} images", folder / CURVE)
    page = render_page(report, evaluation, data, curve.read_bytes())
    with atomic_write(folder / NUMBERS) as temporary:
        write_json(temporary, {key: json_number(value) for key, value in asdict(report).items()})
    label, prediction, radius = (column.tolist() for column in (evaluation.label, evaluation.prediction, evaluation.proved))
    write_samples(folder / SAMPLES, data.indices, prediction, radius, report.norm, label)
    with atomic_write(folder / PAGE) as temporary:
        temporary.write_text(page, "utf-8")
    return folder / PAGE


def render_page(report: Report, evaluation: Evaluation, data: HeldOut, curve: bytes) -> str:
    """Return the report as one page of HTML that is complete in itself: no script, no request, images inlined.

    Args:
        report: Result of :func:`describe_run`.
        evaluation: The measurement.
        data: The images.
        curve: PNG of certified accuracy against radius.
    """
    order = evaluation.proved.argsort(stable=True).tolist()
    place_of = {index: place for place, index in enumerate(data.indices)}
    lines = [("clean", report.correct), *zip(map(radius_label, report.radii), report.counts, strict=True)]
    return render(
        TEMPLATE,
        report=report,
        norm=report.norm,
        rows=[(label, count, percent(count / report.n)) for label, count in lines],
        versions=", ".join(f"{package} {number}" for package, number in report.versions.items()),
        curve=data_uri(curve),
        classes=_class_rows(report),
        confused=_tiles([place_of[confusion.index] for confusion in report.confusions[:CONFUSIONS]], evaluation, data),
        largest=_tiles(order[: -SHOWN - 1 : -1], evaluation, data),
        smallest=_tiles(order[:SHOWN], evaluation, data),
        files=(NUMBERS, SAMPLES, CURVE),
    )


def _class_rows(report: Report) -> list[list[str]]:
    """Return name, number of images and accuracies of each class, the least certified at the first radius first."""
    order = sorted(report.classes, key=lambda found: ([*found.counts, found.correct][0] / found.n, found.name))
    return [
        [found.name, str(found.n), *(percent(count / found.n) for count in (found.correct, *found.counts))] for found in order
    ]


def render(template: str, **values: Any) -> str:
    """Return one of the templates beside this file, filled in."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(template).render(values)


def _tiles(places: Iterable[int], evaluation: Evaluation, data: HeldOut) -> list[dict[str, Any]]:
    """Return the values that the page shows for each of the images at ``places``."""
    return [
        {
            "index": data.indices[place],
            "label": data.class_names[int(evaluation.label[place])],
            "prediction": data.class_names[int(evaluation.prediction[place])],
            "correct": bool(evaluation.correct[place]),
            "radius": evaluation.proved[place].item(),
            "image": data_uri(image_png(data.image(place))),
        }
        for place in places
    ]
