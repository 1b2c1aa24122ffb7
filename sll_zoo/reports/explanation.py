"""A page of explanations: image, saliency, counterfactual, difference, and the three numbers that bracket the boundary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from torch import Tensor

from sll_zoo.certificates.explaining import Explanation
from sll_zoo.data.reading import ImageReader
from sll_zoo.files import atomic_write, json_number, write_json
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.labels import label_names
from sll_zoo.reports.certification import render
from sll_zoo.reports.plot import array_png, data_uri, image_png

PAGE, NUMBERS = FILES = ("explained.html", "explained.json")
MEANING = (
    "The radius is proved, in exact arithmetic: no change of the image, as the network sees it, that is shorter in L2 and pixels "
    "of [0, 1] alters the class. The other two lengths belong to images of another class that were found: against the gradient "
    "of the margin, and by PGD. The nearest image of another class is no closer than the radius, and no farther than the nearer "
    "of the two. Nothing is proved of the saliency."
)


def to_rows(model: LipschitzClassifier, files: Sequence[Path], found: Explanation) -> list[dict[str, Any]]:
    """Return what was found for each image, in JSON's types but for infinite numbers."""
    names = label_names(model) or tuple(map(str, range(model.num_classes)))
    classes = {
        "class_name": found.prediction,
        "compared_with": found.target,
        "counterfactual_class": found.counterfactual_prediction,
        "pgd_class": found.adversarial_prediction,
    }
    numbers = {
        "margin": found.margin,
        "constant": found.constant,
        "gradient_norm": found.gradient_norm,
        "radius": found.radius,
        "t": found.t,
        "counterfactual_distance": found.counterfactual_distance,
        "pgd_distance": found.adversarial_distance,
    }
    reader = ImageReader(model.config.input_shape, resize=True)
    return [
        {"file": str(file), "preparation": reader.describe(str(file))[2]}
        | {name: names[int(values[place])] for name, values in classes.items()}
        | {name: float(values[place]) for name, values in numbers.items()}
        for place, file in enumerate(files)
    ]


def to_dict(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the results in JSON's types; an infinite length, of an image that was not found, is null."""
    return {
        "model": name,
        "norm": "L2",
        "meaning": MEANING,
        "images": [{key: json_number(value) for key, value in row.items()} for row in rows],
    }


def in_words(rows: Sequence[dict[str, Any]]) -> str:
    """Return two lines of text for each image, and what the numbers mean."""
    lines = []
    for row in rows:
        steep = f"gradient {row['gradient_norm']:.4f} of at most {row['constant']:.4f}"
        lines.append(f"{row['file']}: {row['class_name']}, compared with {row['compared_with']}, {steep}")
        lines.append(f"  L2 radius {row['radius']:.4f} (proved); another class at {_found(row)}")
    return "\n".join([*lines, MEANING])


def write_explanation(folder: Path, name: str, rows: Sequence[dict[str, Any]], found: Explanation) -> Path:
    """Write ``explained.json`` and ``explained.html``, a page that is complete in itself, and return the page's path."""
    pictured = [row | _pictures(found, place) | _scale(row) for place, row in enumerate(rows)]
    with atomic_write(folder / NUMBERS) as temporary:
        write_json(temporary, to_dict(name, rows))
    with atomic_write(folder / PAGE) as temporary:
        temporary.write_text(render("explanation.html.jinja", model=name, images=pictured, meaning=MEANING), "utf-8")
    return folder / PAGE


def _found(row: dict[str, Any]) -> str:
    """Return the two lengths that were found, in words."""
    ways = {"against the gradient": row["counterfactual_distance"], "by PGD": row["pgd_distance"]}
    return ", ".join(f"{length:.4f} {way}" if math.isfinite(length) else f"none {way}" for way, length in ways.items())


def _pictures(found: Explanation, place: int) -> dict[str, str]:
    """Return the pictures of an image as addresses that hold them."""
    image, other = found.images[place], found.counterfactual[place]
    return {
        "picture": data_uri(image_png(image)),
        "saliency": data_uri(_saliency_png(found.gradient[place])),
        "counterfactual": data_uri(image_png(other)),
        "difference": data_uri(_difference_png(other - image)),
    }


def _saliency_png(gradient: Tensor) -> bytes:
    """Return the length of the gradient over the channels of each pixel, from black for 0 to bright for the largest."""
    length = gradient.norm(dim=0)
    return array_png(colormaps["inferno"]((length / length.amax().clamp_min(1e-300)).numpy())[..., :3])


def _difference_png(difference: Tensor) -> bytes:
    """Return a difference around grey, at full contrast; of one channel from blue for darker to red for brighter."""
    scaled = difference / (2 * difference.abs().amax().clamp_min(1e-300)) + 0.5
    return image_png(scaled) if len(scaled) == 3 else array_png(colormaps["RdBu_r"](scaled.mean(0).numpy())[..., :3])


def _scale(row: dict[str, Any]) -> dict[str, Any]:
    """Return where the three lengths stand on a scale that ends beyond the largest one, in per cent of its width."""
    lengths = [row[name] for name in ("radius", "counterfactual_distance", "pgd_distance")]
    end = max([length for length in lengths if math.isfinite(length)], default=0.0) * 1.15 or 1.0
    marks = [100 * length / end if math.isfinite(length) else None for length in lengths]
    found = [mark for mark in marks[1:] if mark is not None]
    return {"marks": marks, "nearest": min(found, default=None)}
