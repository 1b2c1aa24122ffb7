"""Reports on a user's own image files: class, runner-up and certified radius of each, and how it was prepared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sll_zoo.certificates.certification import certificate_of, evaluation_form
from sll_zoo.data import load_images
from sll_zoo.data.reading import ImageReader
from sll_zoo.errors import InputError
from sll_zoo.files import atomic_write, json_number, write_json
from sll_zoo.functional.norms import norm_label
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.labels import label_names
from sll_zoo.reports.certification import render
from sll_zoo.reports.plot import data_uri, image_png

PAGE, NUMBERS = FILES = ("classified.html", "classified.json")
MEANING = (
    "No change of an image, as the network sees it, shorter than its radius alters the class: in {norm} and pixels of [0, 1], "
    "proved in exact arithmetic. Nothing is proved about the file before it was prepared, nor that the class is right."
)
BATCH_SIZE = 64


@dataclass(frozen=True, kw_only=True)
class Classified:
    """The result of a network for the image in a file.

    Attributes:
        file: Path of the file, as it was given.
        width: Width of the upright image in the file.
        height: Height of the upright image in the file.
        preparation: How the image was changed before the network saw it, in words to follow "it was"; empty if unchanged.
        class_index: The predicted class.
        class_name: Its name, or its number if the network's weights came without names.
        runner_up: The class with the second largest logit; None where there is one class.
        runner_up_name: Its name, or its number.
        radius: No image closer than this to the prepared one, in ``norm`` and pixels of [0, 1], has another class.
        norm: The norm of the radius, ``L2`` or ``Linf``.
    """

    file: str
    width: int
    height: int
    preparation: str
    class_index: int
    class_name: str
    runner_up: int | None
    runner_up_name: str | None
    radius: float
    norm: str


def require_images(paths: Sequence[Path]) -> None:
    """Raise InputError for a path that is no file; opens none."""
    for path in paths:
        if not path.is_file():
            kind = "is a folder" if path.is_dir() else "does not exist"
            raise InputError(f"{path} {kind}", "name image files; `sll-zoo certify` measures on a folder of class folders")


@torch.no_grad()
def classify(model: LipschitzClassifier, paths: Sequence[Path]) -> tuple[list[Classified], Tensor]:
    """Classify images in files; return results, and the images as the network sees them, (n, channels, height, width).

    Raises:
        InputError: As :func:`~sll_zoo.load_images` and :func:`~sll_zoo.certify` do; no image is certified unless all can be read.
    """
    images = load_images(paths, model)
    network: Any = evaluation_form(model)
    outcomes: list[tuple[int, int, float]] = []
    for batch in torch.split(images, BATCH_SIZE):
        certificate = certificate_of(network, batch)
        others = network(batch.double()).scatter(1, certificate.prediction[:, None], -torch.inf)
        columns = (certificate.prediction, others.argmax(1), certificate.radius)
        outcomes += zip(*(column.tolist() for column in columns), strict=True)
    reader = ImageReader(model.config.input_shape, resize=True)
    names = label_names(model) or tuple(map(str, range(model.num_classes)))
    classified = []
    for path, (label, second, radius) in zip(paths, outcomes, strict=True):
        height, width, preparation = reader.describe(str(path))
        runner_up = second if len(names) > 1 else None
        classified.append(
            Classified(
                file=str(path),
                width=width,
                height=height,
                preparation=preparation,
                class_index=label,
                class_name=names[label],
                runner_up=runner_up,
                runner_up_name=None if runner_up is None else names[runner_up],
                radius=radius,
                norm=norm_label(model.norm),
            )
        )
    return classified, images


def meaning(classified: Sequence[Classified]) -> str:
    """Return what the radii of images say; there is at least one image, and one network gave all of them."""
    return MEANING.format(norm=classified[0].norm)


def to_dict(name: str, classified: Sequence[Classified]) -> dict[str, Any]:
    """Return the results in JSON's types; an infinite radius is null."""
    rows = [{key: json_number(value) for key, value in asdict(image).items()} for image in classified]
    return {"model": name, "radius": meaning(classified), "images": rows}


def in_words(classified: Sequence[Classified]) -> str:
    """Return two lines of text for each image, and an explanation of the radius."""
    lines = []
    for image in classified:
        runner_up = "" if image.runner_up is None else f", runner-up {image.runner_up_name}"
        lines.append(f"{image.file}: {image.class_name}{runner_up}, {image.norm} radius {image.radius:.4f}")
        lines.append(f"  {image.width} x {image.height} pixels, {image.preparation or 'as they are'}")
    return "\n".join([*lines, meaning(classified)])


def write_classified(folder: Path, name: str, classified: Sequence[Classified], images: Tensor) -> Path:
    """Write ``classified.json`` and ``classified.html``, a page that is complete in itself, and return the page's path."""
    pictures = [data_uri(image_png(image)) for image in images]
    rows = [{**asdict(image), "picture": picture} for image, picture in zip(classified, pictures, strict=True)]
    with atomic_write(folder / NUMBERS) as temporary:
        write_json(temporary, to_dict(name, classified))
    with atomic_write(folder / PAGE) as temporary:
        page = render("classification.html.jinja", model=name, images=rows, meaning=meaning(classified))
        temporary.write_text(page, "utf-8")
    return folder / PAGE
