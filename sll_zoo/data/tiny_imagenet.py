"""Tiny-ImageNet: 110,000 photographs of 64 × 64 pixels in 200 of ImageNet's classes.

Source: Stanford's course CS231n, 2015; images of Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge".
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from sll_zoo.data.archive import download, require
from sll_zoo.data.augmentation import Augmentation
from sll_zoo.data.base import ImageData
from sll_zoo.data.folders import is_litter
from sll_zoo.data.images import Files, Images, split
from sll_zoo.data.reading import ImageReader
from sll_zoo.errors import InputError

ANNOTATIONS = "val/val_annotations.txt"
LISTS = ("wnids.txt", "words.txt", ANNOTATIONS)


class TinyImageNet(ImageData):
    """90,000 images to train on, 10,000 to validate (a fixed tenth of each class), and the official validation set to test.

    The labels of the official test images were never published; they are not read. Classes are in the order of their WordNet
    numbers, and named as in the archive's ``words.txt``.

    Args:
        root: Folder in which the published archive is unpacked: it holds ``tiny-imagenet-200``.
        batch_size: Images in a training batch, of all processes together.
        augment: Random changes of training images: ``none``, ``flip``, ``crop``, ``crop_flip``, or ``paper`` (and colours).
        download: Whether to fetch the archive (248 MB) if its folder is not there.
        in_memory: Whether to read all images once and hold them in memory (1.4 GB), on the device that trains.
        num_workers: Processes that read files ahead if not ``in_memory``; by default as many as there are processors, up to 8.

    Raises:
        ConfigError: A batch size below 1, or a negative number of workers.
    """

    name = "tiny_imagenet"
    held_out_arguments = ("root",)
    url = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
    md5 = "90528d7ca1a48142e341f4ef8d21d0de"
    # Numbers of images in each class, and of classes; shape of an image.
    train_images = 500
    test_images = 50
    classes = 200
    shape = (3, 64, 64)

    def __init__(
        self,
        root: str = "data",
        batch_size: int = 256,
        augment: Augmentation = "paper",
        download: bool = False,
        in_memory: bool = True,
        num_workers: int | None = None,
    ) -> None:
        super().__init__(batch_size, augment, num_workers)
        self.root = Path(root)
        self.folder = self.root / "tiny-imagenet-200"
        self.download = download
        self.in_memory = in_memory

    def prepare_data(self) -> None:
        """Download the files if that is asked for and they are not there; check files that will be read later.

        Raises:
            InputError: Files that cannot be downloaded, are missing or damaged.
        """
        if self.download and not all((self.folder / name).exists() for name in LISTS):
            download(self.url, self.root, self.md5)
        self._require_lists()
        if not self.in_memory:
            for part in self._files(train=True).values():
                part.verify()

    def read(self, train: bool) -> dict[str, Images]:
        """Return the images, after a check that each class has the published number of images."""
        return {name: part.decoded() if self.in_memory else part for name, part in self._files(train).items()}

    def _files(self, train: bool) -> dict[str, Files]:
        self._require_lists()
        numbers = sorted(set(self._text("wnids.txt").split()))
        self._check_count(self.folder / "wnids.txt", "classes", len(numbers), self.classes)
        self.class_names = self._names(numbers)
        reader = ImageReader(self.shape, remedy="unpack the archive again: its images have 64 x 64 pixels")
        test = Files(self._test_samples(numbers), reader)
        if not train:
            return {"test": test}
        train_files, validation = split(Files(self._train_samples(numbers), reader))
        return {"train": train_files, "validation": validation, "test": test}

    def _text(self, name: str) -> str:
        """Return the text of one of the three lists."""
        try:
            return (self.folder / name).read_text("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{self.folder / name} is damaged: it is no text ({error})", _AGAIN) from error

    def _names(self, numbers: list[str]) -> tuple[str, ...]:
        """Return the names of the classes from ``words.txt``: lines of number, tab, names, for many more than these classes."""
        whole = self._text("words.txt").split("\n")[:-1]  # text after the last newline is a line that was cut off
        words = {number: name.strip() for number, _, name in (line.partition("\t") for line in whole)}
        if unnamed := [number for number in numbers if not words.get(number)]:
            raise InputError(f"{self.folder / 'words.txt'} is damaged: it has no name for the class {unnamed[0]}", _AGAIN)
        return tuple(words[number] for number in numbers)

    def _train_samples(self, numbers: list[str]) -> list[tuple[str, int]]:
        """Return path and class of each training image: ``train/n01443537/images/n01443537_0.JPEG``."""
        _require_exactly(self.folder / "train", numbers)
        samples = []
        for label, number in enumerate(numbers):
            folder, names = self.folder / "train" / number / "images", [f"{number}_{i}.JPEG" for i in range(self.train_images)]
            _require_exactly(folder, names)
            samples += [(str(folder / name), label) for name in sorted(names)]
        return samples

    def _test_samples(self, numbers: list[str]) -> list[tuple[str, int]]:
        """Return path and class of each image that ``val_annotations.txt`` lists: name, class and a box, between tabs."""
        images = self.folder / "val" / "images"
        annotations, label_of = self.folder / ANNOTATIONS, {number: i for i, number in enumerate(numbers)}
        samples: dict[str, int] = {}
        for place, line in enumerate(self._text(ANNOTATIONS).splitlines(), 1):
            name, number, *_ = [*line.split("\t"), ""]
            if number not in label_of:
                raise InputError(f"line {place} of {annotations} names the class {number!r}, which wnids.txt does not", _AGAIN)
            path = images / name
            if not path.is_file():
                raise InputError(f"{path} does not exist, but {annotations.name} lists it", _AGAIN)
            if str(path) in samples:
                raise InputError(f"line {place} of {annotations} names {name} again", _AGAIN)
            samples[str(path)] = label_of[number]
        counts = Counter(samples.values())
        for label, number in enumerate(numbers):
            self._check_count(annotations, f"images of class {number}", counts[label], self.test_images)
        _require_exactly(images, [Path(path).name for path in samples])
        return list(samples.items())

    def _require_lists(self) -> None:
        for name in LISTS:
            require(self.folder / name, self.url)

    def _check_count(self, path: Path, what: str, found: int, published: int) -> None:
        if found != published:
            raise InputError(f"{path} has {found} {what}, not {published}", _AGAIN)


def _require_exactly(folder: Path, names: list[str]) -> None:
    """Raise InputError unless a folder holds what has these names, and nothing else that is not hidden."""
    found = {path.name for path in folder.iterdir() if not is_litter(path.name)} if folder.is_dir() else set()
    if wrong := found ^ set(names):
        name = min(wrong)
        raise InputError(f"{folder / name} {'was not published' if name in found else 'is missing'}", _AGAIN)


_AGAIN = f"remove the folder and unpack {TinyImageNet.url} again"
