"""The images that a network is measured on, by a data set's name or from a folder of class folders."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from sll_zoo.data.digits import Digits
from sll_zoo.data.image_folder import check_image_folder, image_folder
from sll_zoo.errors import ConfigError, InputError, UnknownNameError

DATA = {"digits": Digits}
# Enough to keep the processors busy, and few enough for a progress bar that moves.
BATCH_SIZE = 64


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Images with labels that a network is measured on, in a fixed order.

    Attributes:
        name: Of the data set, or the folder's path as it was given.
        class_names: In the order of the labels.
        samples: All pairs of an image (channels, height, width) in [0, 1] and its label.
        indices: Those that are measured, by their place in ``samples``.
    """

    name: str
    class_names: tuple[str, ...]
    samples: Any
    indices: Sequence[int]

    def __len__(self) -> int:
        """Return how many images are measured."""
        return len(self.indices)

    def limited(self, limit: int) -> HeldOut:
        """Return ``limit`` of the images, evenly spaced from the first on: the same ones each time. All, if there are no more.

        Image number ⌊i n / limit⌋ for i = 0, 1, …, limit − 1. Images sorted by class give every class its share.

        Raises:
            ConfigError: A limit below 1.
        """
        if limit < 1:
            raise ConfigError(f"limit={limit}", "give an integer of at least 1")
        n = len(self)
        taken = min(limit, n)
        return replace(self, indices=[self.indices[place * n // taken] for place in range(taken)])

    def batches(self) -> DataLoader[Any]:
        """Return pairs of images (b, channels, height, width) and labels (b,), in order."""
        return DataLoader(Subset(self.samples, self.indices), batch_size=BATCH_SIZE)

    def image(self, place: int) -> Tensor:
        """Return one image, (channels, height, width), by its place among those that are measured."""
        image: Tensor = self.samples[self.indices[place]][0]
        return image


def fingerprint(batches: Iterable[tuple[Tensor, Tensor]]) -> str:
    """Return the sha256 of images and labels, in hexadecimal: the same for the same pixels, whatever they are stored as.

    For each image in order: its shape and label as text, "(1, 8, 8) 3", then its values as little-endian float32, row by row.

    Args:
        batches: Pairs of images (b, channels, height, width) and labels (b,). Every file is read, and a damaged one found.

    Example:
        >>> import torch
        >>> fingerprint([(torch.zeros(1, 1, 2, 2), torch.tensor([3]))])[:12]
        'eafd7a3fcea6'
    """
    digest = hashlib.sha256()
    for images, labels in batches:
        for image, label in zip(images, labels.tolist(), strict=True):
            digest.update(f"{tuple(image.shape)} {label}".encode())
            digest.update(image.numpy().astype(np.dtype("<f4")).tobytes())
    return digest.hexdigest()


def check_source(source: str) -> None:
    """Raise unless ``source`` is a data set's name or a folder of class folders; takes no time, and opens no image.

    Raises:
        UnknownNameError: Neither a name nor a folder.
        InputError: A folder without class folders or images.
    """
    if source in DATA:
        return
    if not Path(source).is_dir():
        nearest = difflib.get_close_matches(source, DATA, n=1) or DATA
        raise UnknownNameError(
            f"no data set {source!r}, and no folder of that name",
            f"nearest: {', '.join(nearest)}; or give a folder that has a folder of images for each class",
        )
    check_image_folder(Path(source))


def open_data(source: str, input_shape: tuple[int, int, int], num_classes: int) -> HeldOut:
    """Return the held-out images of a data set, or all images of a folder of class folders, for a network.

    Args:
        source: A key of ``DATA``, or else a folder. (A folder of a data set's name is meant by ``./digits``.)
        input_shape: (channels, height, width) that the network takes.
        num_classes: Number of its logits.

    Raises:
        UnknownNameError: Neither a name nor a folder.
        InputError: Images or classes that do not fit the network, or a folder that :func:`image_folder` refuses.
    """
    if source in DATA:
        data = DATA[source]()
        data.setup("test")
        samples: Any = data.test_dataloader().dataset
        class_names = data.class_names
    else:
        check_source(source)
        samples = image_folder(Path(source), input_shape)
        class_names = tuple(samples.classes)
    if len(class_names) != num_classes:
        some = ", ".join(class_names[:3])
        raise InputError(f"{source} has {len(class_names)} classes ({some}, …), the model {num_classes}", "make them agree")
    shape = tuple(samples[0][0].shape)
    if shape != input_shape:
        raise InputError(f"{source} has images of {shape}, the model takes {input_shape}", "choose a model for this data set")
    return HeldOut(source, class_names, samples, range(len(samples)))
