"""What the page needs, as a folder of static files: the page itself, the runtime, and a folder for each network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sll_zoo.deployment.browser.gradient import gradient_program
from sll_zoo.deployment.browser.runtime import runtime_files
from sll_zoo.deployment.exporting import export
from sll_zoo.deployment.formats import write_onnx
from sll_zoo.errors import ExportError, InputError
from sll_zoo.files import write_json
from sll_zoo.models import LipschitzClassifier
from sll_zoo.zoo.publishing.results import IMAGES_FILE, read_samples

PAGE = Path(__file__).parent / "page"
NETWORK_FILE, GRADIENT_FILE, DESCRIPTION_FILE = "network.onnx", "gradient.onnx", "network.json"
# What the list of networks is called; the page loads it first.
LIST_FILE = "networks.json"
# Images of a network's folder that the page offers.
OFFERED = 10


def write_page(folder: Path, names: Sequence[str]) -> None:
    """Copy the page and the runtime to a folder, and write the list of the networks that it offers.

    Raises:
        ExportError: The runtime is not here and cannot be downloaded.
    """
    runtime = runtime_files()
    shutil.copytree(PAGE, folder, dirs_exist_ok=True)
    (folder / "runtime").mkdir(exist_ok=True)
    for path in runtime:
        shutil.copyfile(path, folder / "runtime" / path.name)
    write_json(folder / LIST_FILE, {"networks": list(names)})


def write_network(folder: Path, model: LipschitzClassifier, name: str, images: Path | None = None) -> None:
    """Write a network for the page: a sound export, the graph of its gradient, and their description.

    Args:
        folder: Where to write; the page looks in ``networks/NAME``.
        model: The network, in eval mode.
        name: Its name.
        images: A folder of the zoo with ``images.png`` and ``samples.csv``, of which the page offers ten images.

    Raises:
        InputError: A network that does not take images, but sequences of single numbers.
        ConfigError, ExportError, WeightsError: As for :func:`~sll_zoo.export` with ``sound=True``.
    """
    _require_images(name, model.config.input_shape)
    folder.mkdir(parents=True, exist_ok=True)
    export(model, folder / NETWORK_FILE, dtype=torch.float64, name=name, sound=True)
    write_onnx(gradient_program(model), folder / GRADIENT_FILE, {"model": name}, ("images", "weights"))
    offered = _offered(images, folder) if images else []
    write_json(folder / DESCRIPTION_FILE, _description(folder / NETWORK_FILE) | {"gradient": True, "images": offered})


def write_exported(folder: Path, path: Path) -> None:
    """Put a file of :func:`~sll_zoo.export` where the page finds it; there is no gradient in it to search by.

    Raises:
        ExportError: A file that is no ONNX file, or not one of this package.
        InputError: A file that does not exist, or a network that does not take images, but sequences of single numbers.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist", "name a file that `sll-zoo export` wrote")
    try:
        description = _description(path)
    except Exception as error:  # onnxruntime's classes of errors are not public
        raise ExportError(f"{path} is no network of `sll-zoo export` ({error})", "give a .onnx file that it wrote") from error
    _require_images(path, description["shape"])
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, folder / NETWORK_FILE)
    write_json(folder / DESCRIPTION_FILE, description | {"gradient": False, "images": []})


def _require_images(network: str | Path, shape: Sequence[int]) -> None:
    if min(shape[1:]) == 1:
        raise InputError(f"{network} takes sequences of single numbers", "the page is for networks that take images")


def _description(path: Path) -> dict[str, Any]:
    """Return what the page must know of an exported network; KeyError if its metadata are others."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
    (images,) = session.get_inputs()
    return {
        "name": metadata["model"],
        "classes": json.loads(metadata["classes"]),
        "norm": metadata["norm"],
        "shape": images.shape[1:],
        "dtype": "float64" if "double" in images.type else "float32",
        "sound": "slack" in [output.name for output in session.get_outputs()],
    }


def _offered(images: Path, folder: Path) -> list[dict[str, int]]:
    """Copy the sheet of images, and return the place in it and the class of some."""
    shown = [row for row in read_samples(images) if row.shown]
    if not shown:
        return []
    shutil.copyfile(images / IMAGES_FILE, folder / IMAGES_FILE)
    examples = [(place, row) for place, row in enumerate(shown) if row.shown == "example"]
    return [{"place": place, "label": row.label} for place, row in examples[:OFFERED]]
