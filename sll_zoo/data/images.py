"""Images held in memory or read from files, with the same interface: a data set of pairs of image and label."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from sll_zoo.data.reading import ImageReader

Sample = tuple[Tensor, Tensor | int]
In = TypeVar("In")
Out = TypeVar("Out")
# One image in SHARE is held out where a data set does not say which.
SHARE = 10
# Files that a thread reads at a time: handing small ones over one by one takes longer than reading them.
CHUNK = 64


class Pairs(Sequence[Sample]):
    """Pairs of image and label in one piece, which :func:`together` need not put together again.

    Args:
        images: (n, channels, height, width).
        labels: (n,).
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images
        self.labels = labels

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.labels)

    def __getitem__(self, index: Any) -> Any:
        """Return a pair."""
        return self.images[index], self.labels[index]


def together(pairs: Sequence[Sample]) -> Any:
    """Return images and labels of a batch, as the ``collate_fn`` of a loader: on a GPU, thousands of small operations less."""
    return (pairs.images, pairs.labels) if isinstance(pairs, Pairs) else default_collate(list(pairs))


class Pixels(Dataset[Sample]):
    """Images held in memory as 8-bit values, on one device, where they become floats a batch at a time.

    Args:
        images: uint8 (n, channels, height, width).
        labels: Their classes (n,), int64.
        white: The value that becomes 1.
    """

    def __init__(self, images: Tensor, labels: Tensor, white: int = 255) -> None:
        self.images = images
        self.labels = labels
        self.white = white

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        """Return an image (channels, height, width) in [0, 1] and its label."""
        image, label = self.__getitems__([index])[0]
        return image, label

    def __getitems__(self, indices: Sequence[int]) -> Pairs:
        """Return the pairs of several indices, which torch's loaders ask for a batch at a time."""
        chosen = torch.as_tensor(indices)
        return Pairs(self._floats(self.images[without_waiting(chosen, self.images.device)]), self.labels[chosen])

    def batches(self, size: int, num_workers: int = 0) -> Iterator[tuple[Tensor, Tensor]]:  # noqa: ARG002 - as that of Files
        """Yield all images and labels in order, ``size`` at a time: cut from the whole, not collated from pairs."""
        for images, labels in zip(torch.split(self.images, size), torch.split(self.labels, size), strict=True):
            yield self._floats(images), labels

    def select(self, indices: Sequence[int]) -> Pixels:
        """Return some of the images."""
        return Pixels(self.images[indices], self.labels[indices], self.white)

    def relabelled(self, labels: Sequence[int]) -> Pixels:
        """Return the images with another number for each class: ``labels[i]`` in place of i."""
        return Pixels(self.images, torch.tensor(labels)[self.labels], self.white)

    def move(self, device: torch.device) -> None:
        """Hold the images on a device from now on."""
        self.images = self.images.to(device)

    def _floats(self, images: Tensor) -> Tensor:
        """Return 8-bit values as floats in [0, 1], the same on every device: a GPU multiplies by 1/white where it is a number."""
        return images.float() / torch.full((), self.white, dtype=torch.float32, device=images.device)


class Files(Dataset[Sample]):
    """Images that are read from their files each time.

    Args:
        samples: Pairs of a path and the index of its class.
        reader: Reads an image; its ``check`` tells with less work whether it can be read.
    """

    def __init__(self, samples: Sequence[tuple[str, int]], reader: ImageReader) -> None:
        self.samples = samples
        self.reader = reader

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        """Return an image (channels, height, width) in [0, 1] and its label."""
        path, label = self.samples[index]
        return self.reader(path).float() / 255, label

    def batches(self, size: int, num_workers: int = 0) -> DataLoader[Any]:
        """Return all images and labels in order, ``size`` at a time, read ahead by so many processes."""
        return DataLoader(self, batch_size=size, num_workers=num_workers)

    @property
    def labels(self) -> list[int]:
        """The class of each image."""
        return [label for _, label in self.samples]

    def select(self, indices: Sequence[int]) -> Files:
        """Return some of the images."""
        return Files([self.samples[index] for index in indices], self.reader)

    def relabelled(self, labels: Sequence[int]) -> Files:
        """Return the images with another number for each class: ``labels[i]`` in place of i."""
        return Files([(path, labels[label]) for path, label in self.samples], self.reader)

    def decoded(self) -> Pixels:
        """Read all files once, and return their images, held in memory."""
        images = torch.empty(0, dtype=torch.uint8)
        for place, image in enumerate(in_threads(self.reader, [path for path, _ in self.samples])):
            if not place:
                images = torch.empty(len(self), *image.shape, dtype=torch.uint8)
            images[place] = image
        return Pixels(images, torch.tensor(self.labels))

    def verify(self) -> None:
        """Check all files."""
        for _ in in_threads(self.reader.check, [path for path, _ in self.samples]):
            pass

    def move(self, device: torch.device) -> None:
        """Files stay where they are."""


Images = Pixels | Files
Held = TypeVar("Held", Pixels, Files)


def in_threads(function: Callable[[In], Out], items: Sequence[In]) -> Iterator[Out]:
    """Yield the function's result for each item, in order, by a thread for each processor: Pillow decodes in parallel."""

    def several(start: int) -> list[Out]:
        return [function(item) for item in items[start : start + CHUNK]]

    with ThreadPoolExecutor(cpu_count()) as pool:
        for results in pool.map(several, range(0, len(items), CHUNK)):
            yield from results


def without_waiting(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the CPU on a device; the CPU does not wait for a GPU to finish what it was given before."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def split(images: Held, groups: Sequence[str] | None = None) -> tuple[Held, Held]:
    """Return nine tenths of the images and the other tenth, of each class alike: always the same, whatever torch's seed.

    Both parts keep the order of the images. Images of one group are never divided; the classes are then as alike as that allows,
    and each that has two groups has images in both parts.

    Args:
        images: :class:`Pixels` or :class:`Files`.
        groups: The group of each image; by default each is alone.
    """
    labels = np.asarray(images.labels)
    taken = _tenth_of_classes(labels) if groups is None else _tenth_of_groups(labels, np.asarray(groups))
    return images.select(np.flatnonzero(~taken).tolist()), images.select(np.flatnonzero(taken).tolist())


def _tenth_of_classes(labels: np.ndarray) -> np.ndarray:
    """Return which images are taken (n,): shuffled with a fixed seed and sorted by class, every tenth."""
    shuffled = np.random.default_rng(0).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    taken = np.zeros(len(labels), dtype=bool)
    taken[by_class[::SHARE]] = True
    return taken


def _tenth_of_groups(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return which images are taken (n,): of groups in a fixed random order, each that brings the classes nearer to a tenth.

    Then one group of each class of which nothing was taken, where every class of that group has another group left.
    """
    names, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), labels.max() + 1))
    np.add.at(counts, (group, labels), 1)
    missing = counts.sum(0) / SHARE
    chosen = np.zeros(len(names), dtype=bool)
    order = np.random.default_rng(0).permutation(len(names))
    for place in order:
        if ((missing - counts[place]) ** 2).sum() < (missing**2).sum():
            chosen[place] = True
            missing -= counts[place]
    has = counts > 0
    groups_taken, groups_left = has[chosen].sum(0), has[~chosen].sum(0)
    for place in order[~chosen[order]]:
        if not groups_taken[has[place]].all() and (groups_left[has[place]] > 1).all():
            chosen[place] = True
            groups_taken += has[place]
            groups_left -= has[place]
    taken: np.ndarray = chosen[group]
    return taken


def evenly_spaced(n: int, limit: int) -> list[int]:
    """Return ``limit`` places among n, all if there are no more: of images sorted by class, every class has its share.

    Example:
        >>> evenly_spaced(10, 4)
        [0, 2, 5, 7]
    """
    taken = min(limit, n)
    return [place * n // taken for place in range(taken)]
