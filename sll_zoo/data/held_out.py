"""The images that a network is measured on, by a data set's name or from a folder of class folders."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils.data import DataLoader, Subset

from sll_zoo import data as data_sets
from sll_zoo.data.folders import class_folders, divided, list_images, log_skipped
from sll_zoo.data.images import Files, Images, evenly_spaced
from sll_zoo.data.reading import ImageReader
from sll_zoo.errors import ConfigError, InputError, UnknownNameError

if TYPE_CHECKING:
    from sll_zoo.data.base import ImageData

DATA_MODULES = {
    "digits": "Digits",
    "digits_by_pixel": "DigitsByPixel",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "tiny_imagenet": "TinyImageNet",
    "gtsrb": "TrafficSigns",
}
"""The data sets by their names, as in ``sll-zoo certify``: the name of the data module of each, in ``sll_zoo.data``."""
# Number of images in a batch: enough to keep the processors busy, few enough for a progress bar that moves.
BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Images with labels that a network is measured on, in a fixed order.

    Attributes:
        name: Name of the data set, as of its data module, or the folder's path as it was given.
        class_names: Names of the network's classes, in the order of the labels.
        samples: All pairs of an image (channels, height, width) in [0, 1] and its label.
        indices: Positions in ``samples`` of the images that are measured.
        source: What :func:`open_data` was given; empty if it did not open them.
        preparation: As of the data module (:class:`~sll_zoo.data.ImageData`); empty for a folder, whose images keep their pixels.
        division: As of the data module; empty for a folder.
    """

    name: str
    class_names: tuple[str, ...]
    samples: Any
    indices: Sequence[int]
    source: str = ""
    preparation: str = ""
    division: str = ""

    @property
    def about(self) -> str:
        """How the images were changed, and which were never divided among the parts, in words; empty if neither."""
        changed = f"images were {self.preparation}" if self.preparation else ""
        return "; ".join(filter(None, (changed, self.division)))

    def __len__(self) -> int:
        """Return how many images are measured."""
        return len(self.indices)

    def limited(self, limit: int) -> HeldOut:
        """Return ``limit`` of the images, evenly spaced from the first on: the same ones each time. All, if there are no more.

        Image number ⌊i n / limit⌋ for i = 0, 1, …, limit − 1.

        Raises:
            ConfigError: A limit below 1.
        """
        if limit < 1:
            raise ConfigError(f"limit={limit}", "give an integer of at least 1")
        return replace(self, indices=[self.indices[place] for place in evenly_spaced(len(self), limit)])

    def batches(self) -> DataLoader[Any]:
        """Return pairs of images (b, channels, height, width) and labels (b,), in order."""
        return DataLoader(Subset(self.samples, self.indices), batch_size=BATCH_SIZE)

    def image(self, place: int) -> Tensor:
        """Return one image, (channels, height, width), by its place among those that are measured."""
        image: Tensor = self.samples[self.indices[place]][0]
        return image


def data_module(name: str) -> ImageData:
    """Return a data set by its name, a key of ``DATA_MODULES``, with its defaults; Lightning is imported for that."""
    data: ImageData = getattr(data_sets, DATA_MODULES[name])()
    return data


def check_source(source: str) -> None:
    """Raise unless ``source`` is a data set whose files are there or a folder of class folders; fast, opens no image.

    Raises:
        UnknownNameError: Neither a name nor a folder.
        InputError: Files that are missing, or a folder without class folders or images.
    """
    if source in DATA_MODULES:
        data_module(source).prepare_data()
        return
    if Path(source).is_file():
        raise UnknownNameError(
            f"{source} is a file, no data set and no folder", f"`sll-zoo classify MODEL {source}` gives its class and radius"
        )
    if not Path(source).is_dir():
        nearest = difflib.get_close_matches(source, DATA_MODULES, n=1) or DATA_MODULES
        raise UnknownNameError(
            f"no data set {source!r}, and no folder of that name",
            f"nearest: {', '.join(nearest)}; or give a folder that has a folder of images for each class",
        )
    _held_out_images(Path(source))


def open_data(source: str, input_shape: tuple[int, int, int], num_classes: int, label_names: Sequence[str] = ()) -> HeldOut:
    """Return the images of a data set that are held out to test, for a network.

    Args:
        source: A key of ``DATA_MODULES``, whose files are looked for where its data module looks by default; or a folder of class
            folders, all of whose images are taken. If it has ``train/``, the images of ``test/`` are taken, or else of ``val/``,
            or else of ``train/``. (Write ``./digits`` for a folder with the name of a data set.) Images of a folder keep their
            pixels: nothing is resized or cropped, since a radius is a statement about the image that the network saw.
        input_shape: (channels, height, width) that the network takes.
        num_classes: Number of its logits.
        label_names: Names of its classes. The classes of the data, which may be fewer, are found among them by name; without
            names, the data must have as many classes, in the same order.

    Raises:
        UnknownNameError: Neither a name nor a folder.
        InputError: Images or classes that do not fit the network, files that are missing or damaged, or a folder without images.
    """
    check_source(source)
    if source in DATA_MODULES:
        data = data_module(source)
        samples: Images = data.part("test")
        name, found, about = data.name, data.class_names, (data.preparation, data.division)
    else:
        folder, found, listed = _held_out_images(Path(source))
        name, about = source, ("", "")
        samples = Files(listed, ImageReader(input_shape))
        log_skipped([folder])
    class_names, labels = _among(tuple(label_names), found, num_classes, source)
    shape = tuple(samples[0][0].shape)
    if shape != input_shape:
        raise InputError(f"{source} has images of {shape}, the model takes {input_shape}", "choose a model for this data set")
    return HeldOut(name, class_names, samples.relabelled(labels), range(len(samples)), source, *about)


def _among(
    known: tuple[str, ...], found: tuple[str, ...], num_classes: int, source: str
) -> tuple[tuple[str, ...], Sequence[int]]:
    """Return the names of the network's classes, and for each class of the data its number among them.

    If the network's names are just the numbers 0, 1, …, its classes count as unnamed, unless the data has such names, too.
    """
    if found == known:  # equal lists need no look-up, which fails where two classes have the same name
        return known, range(num_classes)
    strangers = [name for name in found if name not in known]
    if not strangers:
        return known, [known.index(name) for name in found]
    if known and (known != tuple(map(str, range(len(known)))) or len(found) != num_classes):
        raise InputError(
            f"{source} has {len(strangers)} of {len(found)} classes that the model does not have: {', '.join(strangers[:10])}",
            f"rename them, or leave them out; the model's classes are {', '.join(known)}",
        )
    if len(found) != num_classes:
        some = ", ".join(found[:3])
        raise InputError(f"{source} has {len(found)} classes ({some}, …), the model {num_classes}", "make them agree")
    return found, range(num_classes)


def _held_out_images(root: Path) -> tuple[Path, tuple[str, ...], list[tuple[str, int]]]:
    """Return the folder of the held-out images, the names of the classes, and path and class of each image."""
    folders = divided(root)
    folder, class_names = folders.get("test", folders["train"]), tuple(class_folders(folders["train"]))
    return folder, class_names, list_images(folder, class_names)
