"""CIFAR-10: 60,000 photographs of 32 × 32 pixels in 10 classes.

Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torchvision import datasets

from sll_zoo.data.archive import download, require
from sll_zoo.data.augmentation import Augmentation
from sll_zoo.data.base import ImageData
from sll_zoo.data.images import Images, Pixels, split


class CIFAR10(ImageData):
    """45,000 images to train on, 5,000 to validate (a fixed tenth of each class), and the 10,000 official test images.

    Held in memory, in 184 MB.

    Args:
        root: Folder in which the published archive is unpacked.
        batch_size: Images in a training batch, of all processes together.
        augment: What happens to training images at random: ``none``, ``flip``, ``crop_flip``, or ``paper``: colours, too.
        download: Whether to fetch the archive (170 MB) if its files are not there.

    Raises:
        ConfigError: A batch size below 1.
    """

    name = "cifar10"
    held_out_arguments = ("root",)
    # What reads the files, and knows their names, checksums and address.
    reader: Any = datasets.CIFAR10

    def __init__(
        self, root: str = "data", batch_size: int = 256, augment: Augmentation = "paper", download: bool = False
    ) -> None:
        super().__init__(batch_size, augment)
        self.root = Path(root)
        self.download = download

    def prepare_data(self) -> None:
        """Download the files if that is asked for and they are not there.

        Raises:
            InputError: Files that cannot be had, or are not there.
        """
        files = self._files()
        if self.download and not all(path.exists() for path, _ in files):
            download(self.reader.url, self.root, self.reader.tgz_md5)
        for path, _ in files:
            require(path, self.reader.url)

    def read(self, train: bool) -> dict[str, Images]:
        """Return the images, once the checksums of all files are right."""
        for path, md5 in self._files():
            require(path, self.reader.url, md5)
        test = self._pixels(train=False)
        if not train:
            return {"test": test}
        train_images, validation = split(self._pixels(train=True))
        return {"train": train_images, "validation": validation, "test": test}

    def _files(self) -> list[tuple[Path, str]]:
        """Return path and md5 of each file."""
        folder, meta = self.root / self.reader.base_folder, self.reader.meta
        listed = [*self.reader.train_list, *self.reader.test_list, (meta["filename"], meta["md5"])]
        return [(folder / name, md5) for name, md5 in listed]

    def _pixels(self, train: bool) -> Pixels:
        read = self.reader(str(self.root), train=train)
        self.class_names = tuple(read.classes)
        return Pixels(torch.from_numpy(read.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(read.targets))
