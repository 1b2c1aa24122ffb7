"""CIFAR-10: 60,000 photographs of 32 × 32 pixels in 10 classes.

Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torchvision import datasets
from torchvision.datasets.folder import IMG_EXTENSIONS

from sll_zoo.data.archive import download, require, require_one
from sll_zoo.data.augmentation import Augmentation
from sll_zoo.data.base import ImageData
from sll_zoo.data.checksum import fingerprint
from sll_zoo.data.folders import class_folders, is_litter
from sll_zoo.data.images import Files, Images, Pixels, split
from sll_zoo.data.reading import ImageReader
from sll_zoo.errors import InputError

log = logging.getLogger(__name__)


class CIFAR10(ImageData):
    """45,000 images to train on, 5,000 to validate (a fixed tenth of each class), and the 10,000 official test images.

    They are read from the published archive, ``ROOT/cifar-10-batches-py/``, or from class folders of images with the file names
    that the archive notes, ``ROOT/train/airplane/aeroplane_s_000004.png`` and the same of ``test/``, in ROOT or ROOT/cifar10.
    Either way they are the same, in the same order: by class, then by file name. Held in memory, in 184 MB.

    Images that are not those that were published, such as JPEG copies, are called ``not-genuine-cifar10`` in log and record.

    Args:
        root: Folder in which the published archive is unpacked, or with the class folders.
        batch_size: Images in a training batch, of all processes together.
        augment: Random changes of training images: ``none``, ``flip``, ``crop``, ``crop_flip``, or ``paper`` (and colours).
        download: Whether to fetch the archive (170 MB) if there are no images.
        train_on_validation: Whether to train on the validation images, too, as published networks are: for a last training, once
            they have decided how. What is logged under ``val/`` then tells nothing of other images.

    Raises:
        ConfigError: A batch size below 1.
    """

    name = "cifar10"
    held_out_arguments = ("root",)
    # Torchvision's class, which knows the archive's files, checksums and address.
    archive: Any = datasets.CIFAR10
    classes = 10
    remedy = "restore the published images"
    # Images of each class.
    counts: ClassVar[dict[str, int]] = {"train": 5_000, "test": 1_000}
    # Fingerprints of the published images in the order above.
    genuine: ClassVar[dict[str, str]] = {
        "train": "b11808053e1ee2a0aa4c517613f96cd8976c4a68ab8002141172f44ff23521ac",
        "validation": "0133b66b1fa713302deea0a12f704b6fcab28eb16eeacef38049149d7cb9b1cf",
        "test": "585c240ffb62448eb06f9fab8c8f55146419731964c05d094c368ab0a4006a5e",
    }

    def __init__(
        self,
        root: str = "data",
        batch_size: int = 256,
        augment: Augmentation = "paper",
        download: bool = False,
        train_on_validation: bool = False,
    ) -> None:
        super().__init__(batch_size, augment)
        self.root = Path(root)
        self.download = download
        self.train_on_validation = train_on_validation

    def prepare_data(self) -> None:
        """Download the files if that is asked for and they are not there.

        Raises:
            InputError: Files that cannot be downloaded, or are missing.
        """
        if self._folder():
            return
        files = self._archived()
        if self.download and not all(path.exists() for path, _ in files):
            download(self.archive.url, self.root, self.archive.tgz_md5)
        for path, _ in files:
            self._require(path)

    def read(self, train: bool) -> dict[str, Images]:
        """Return the images: as many of each class as were published, each once."""
        read, folder = self._from_archive, self._folder()
        if folder:
            self.class_names = self._class_folders([folder / "test", *([folder / "train"] if train else [])])
            read = partial(self._from_folders, folder)
        parts: dict[str, Images] = {"test": read("test")}
        whole = read("train") if train else None
        if whole:
            parts["train"], parts["validation"] = split(whole)
        self._compare(parts)
        if whole and self.train_on_validation:
            parts["train"] = whole
        return parts

    def _folder(self) -> Path | None:
        """Return the folder with train/ or test/, in whatever case; None for the archive, which may not be there yet."""
        archive = self.root / self.archive.base_folder
        folders = [folder for folder in (self.root, self.root / type(self).name) if folder.is_dir()]
        found = [
            folder for folder in folders if any(path.name.lower() in self.counts and path.is_dir() for path in folder.iterdir())
        ]
        require_one([*found, *([archive] if archive.exists() else [])])
        return found[0] if found else None

    def _archived(self) -> list[tuple[Path, str]]:
        """Return path and md5 of each file of the archive."""
        meta = self.archive.meta
        listed = [*self.archive.train_list, *self.archive.test_list, (meta["filename"], meta["md5"])]
        return [(self.root / self.archive.base_folder / name, md5) for name, md5 in listed]

    def _require(self, path: Path, md5: str | None = None) -> None:
        """Raise InputError unless a file of the archive is there, with this checksum."""
        class_folders = f"class folders, {self.root / type(self).name / 'train' / 'CLASS' / 'NAME.png'}"
        require(path, self.archive.url, md5, instead=class_folders)

    def _from_archive(self, part: str) -> Pixels:
        """Return the images of a part, once the checksums of all files are right."""
        contents = {}
        for path, md5 in self._archived():
            self._require(path, md5)
            contents[path.name] = pickle.loads(path.read_bytes(), encoding="latin1")  # noqa: S301 - of a known checksum
        self.class_names = tuple(contents[self.archive.meta["filename"]][self.archive.meta["key"]])
        batches = [contents[name] for name, _ in (self.archive.train_list if part == "train" else self.archive.test_list)]
        labels = [label for batch in batches for label in batch.get("labels") or batch["fine_labels"]]
        names = [name for batch in batches for name in batch["filenames"]]
        keys = [(label, Path(name).stem) for label, name in zip(labels, names, strict=True)]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        return Pixels(torch.from_numpy(images[order]), torch.tensor(labels)[order])

    def _class_folders(self, folders: Sequence[Path]) -> tuple[str, ...]:
        """Return the names of the class folders, the same in each of the folders, so that a label means the same."""
        for folder in folders:
            if not folder.is_dir():
                raise InputError(f"{folder} is no folder", f"{self.remedy} in a folder of this name, in lower case")
            if len(names := class_folders(folder)) != self.classes:
                raise InputError(f"{folder} has {len(names)} class folders, not {self.classes}", self.remedy)
            if other := set(names) ^ set(class_folders(folders[0])):
                raise InputError(f"{folders[0]} and {folder} differ in the class {min(other)!r}", self.remedy)
        return tuple(names)

    def _from_folders(self, root: Path, part: str) -> Pixels:
        """Return the images of a part in class folders, once there are as many in each as were published."""
        folder, count = root / part, self.counts[part]
        samples = [(path, label) for label, name in enumerate(self.class_names) for path in self._files(folder / name, count)]
        reader = ImageReader((3, 32, 32), remedy=f"{self.remedy}: all images have 32 x 32 pixels")
        return Files([(str(path), label) for path, label in samples], reader).decoded()

    def _files(self, folder: Path, count: int) -> list[Path]:
        """Return the images of a class by name, once each name is there once and nothing else is."""
        paths = sorted((path for path in folder.iterdir() if not is_litter(path.name)), key=lambda path: path.stem)
        if strays := [path for path in paths if path.suffix.lower() not in IMG_EXTENSIONS]:
            raise InputError(f"{strays[0]} is no image", "remove it")
        if twice := [second for first, second in pairwise(paths) if first.stem == second.stem]:
            raise InputError(f"{twice[0]} has the name of another image", "remove one of them")
        if len(paths) != count:
            raise InputError(f"{folder} has {len(paths)} images, not {count}", self.remedy)
        return paths

    def _compare(self, parts: dict[str, Images]) -> None:
        """Take another name if the images are not those that were published."""
        # Of batches as small as this, torch converts the values without threads, and they stay in the processor's cache.
        other = [name for name, images in parts.items() if fingerprint(images.batches(8)) != self.genuine[name]]
        self.name = f"not-genuine-{type(self).name}" if other else type(self).name
        if other:
            log.warning("%s: the %s images in %s are not the published ones", self.name, " and ".join(other), self.root)
