"""How a record names the images that it was measured on, and how they are opened again, even for a stranger's record."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sll_zoo import data as data_sets
from sll_zoo.data.groups import is_table
from sll_zoo.data.held_out import DATA_MODULES, HeldOut, data_module, open_data
from sll_zoo.errors import InputError
from sll_zoo.zoo.records.record import DataSource

if TYPE_CHECKING:
    from sll_zoo.data.base import ImageData

FOLDER = "sll_zoo.data.open_data"


def source_of(data: ImageData | HeldOut) -> DataSource | None:
    """Return how held-out images are opened; None for images of other code or outside of the current folder.

    Example:
        >>> from sll_zoo.data import ImageFolder
        >>> source_of(ImageFolder("data/images", image_size=8)).init_args
        {'root': 'data/images', 'image_size': (8, 8), 'channels': 3}
    """
    if isinstance(data, HeldOut):
        if data.source in DATA_MODULES:
            return source_of(data_module(data.source))
        return _source(FOLDER, source=Path(data.source)) if data.source else None
    class_path = f"sll_zoo.data.{type(data).__name__}"
    if _class_at(class_path) is not type(data):
        return None
    return _source(class_path, **{name: getattr(data, name) for name in data.held_out_arguments})


def _source(class_path: str, **arguments: Any) -> DataSource | None:
    try:
        init_args = {name: _relative(value) for name, value in arguments.items() if value is not None}
    except ValueError:  # not inside of the current folder
        return None
    return DataSource(class_path=class_path, init_args=init_args)


def _relative(value: Any) -> Any:
    """Return a path relative to the current folder, and any other value as it is."""
    if not isinstance(value, Path):
        return value
    return Path(os.path.abspath(value)).relative_to(Path.cwd()).as_posix()  # noqa: PTH100 - a link stays one


def open_recorded(
    source: DataSource, input_shape: tuple[int, int, int], num_classes: int, label_names: Sequence[str] = ()
) -> HeldOut:
    """Return the images that a record says it was measured on: a data set of this package, or a folder inside the current one.

    Args:
        source: The record's data source.
        input_shape: (channels, height, width) that the network takes.
        num_classes: Number of its logits.
        label_names: Names of its classes, as for :func:`~sll_zoo.data.open_data`.

    Raises:
        InputError: A class or an argument that no record may have, a path that leads out of the current folder, another size
            than the network takes, or files that are missing or damaged.
        UnknownNameError: A folder for ``open_data``, which the command line measures on, that does not exist.
    """
    arguments = source.init_args
    texts = {name: value for name, value in arguments.items() if isinstance(value, str)}
    if not is_table(texts.get("groups", "")):
        texts.pop("groups", None)  # a pattern
    paths = [Path(value) for value in texts.values()]
    if outside := [path for path in paths if path.anchor or ".." in path.parts]:
        raise InputError(f"the record names {outside[0]}", "a record's paths lie inside of the current folder")
    size = arguments.get("image_size")
    if size not in (None, input_shape[1:]) and (size, size) != input_shape[1:]:
        raise InputError(f"the record resizes images to {size}", f"the network takes {input_shape}")
    if source.class_path == FOLDER and arguments.keys() == {"source"}:
        return open_data(str(arguments["source"]), input_shape, num_classes, label_names)
    data = _module(source)
    images = data.part("test")
    return HeldOut(
        data.name,
        data.class_names,
        images,
        range(len(images)),
        preparation=data.preparation,
        division=data.division,
    )


def _class_at(path: str) -> Any:
    """Return the data module that a record may name by this path, besides a folder for ``open_data``; None if there is none."""
    package, _, name = path.rpartition(".")
    found = getattr(data_sets, name, None) if package == data_sets.__name__ else None
    is_module = isinstance(found, type) and issubclass(found, data_sets.ImageData) and found is not data_sets.ImageData
    return found if is_module else None


def _module(source: DataSource) -> ImageData:
    module, arguments = _class_at(source.class_path), source.init_args
    if module is None or arguments.keys() - set(module.held_out_arguments):
        raise InputError(
            f"the record names {source}", "a record may name the data sets of sll_zoo.data, and what decides on their images"
        )
    try:
        data: ImageData = module(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"the record names {source}, which gives no images ({error})", "measure the weights again") from error
    return data
