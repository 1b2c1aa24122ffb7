"""The base class of all data sets: parts, loaders, fingerprint, and the augmentation of training batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, get_args

import torch
from lightning import LightningDataModule
from lightning.fabric.utilities.data import suggested_max_num_workers
from torch import Tensor
from torch.utils.data import DataLoader

from sll_zoo.data.augmentation import Augmentation, augment
from sll_zoo.data.checksum import fingerprint
from sll_zoo.data.images import Images, Pixels
from sll_zoo.data.loading import evaluation_loader, training_loader
from sll_zoo.errors import ConfigError, UnknownNameError, require_integer

PARTS = ("train", "validation", "test")
# Largest default number of reading processes: more were not faster.
MOST_WORKERS = 8


class ImageData(LightningDataModule, ABC):
    """Images in [0, 1], never normalised, in three parts that are fixed for good: train, validation (taken from it), and test.

    Batches are pairs of images, float32 (batch, channels, height, width), and labels (batch,). Training batches are the same sets
    of images on any number of processes, each of which has its share; validation and test give every image once. Images that are
    held in memory lie on the device that trains, as 8-bit values. Augmentation happens there, on whole batches, in training only.
    All random numbers come from torch's global generator when a batch is asked for, and none is kept from epoch to epoch.

    Args:
        batch_size: Images in a training batch, of all processes together.
        augment: Random changes of training images: ``none``, ``flip``, ``crop``, ``crop_flip``, or ``paper`` (crop, flip and
            colours) (:mod:`sll_zoo.data.augmentation`).
        num_workers: Processes that read files ahead; by default as many as there are processors, up to 8. Images held in memory
            need none.

    Attributes:
        name: Name of the data set, as in records and tables.
        class_names: Names in the order of the labels; for some data sets known only after ``setup``.
        preparation: How images are changed before a network sees them, in words to follow "they were"; empty if unchanged.
        division: Which images are never divided among the parts, in a clause; empty if each is alone.
        held_out_arguments: Names of the arguments, and of the attributes that hold them, on which the test part depends.

    Raises:
        ConfigError: A batch size below 1, another augmentation, or a negative number of workers.
    """

    name: str
    class_names: tuple[str, ...]
    preparation: str = ""
    division: str = ""
    held_out_arguments: tuple[str, ...] = ()

    def __init__(self, batch_size: int, augment: Augmentation = "none", num_workers: int | None = None) -> None:
        super().__init__()
        require_integer("batch_size", batch_size)
        if augment not in get_args(Augmentation):
            raise ConfigError(f"augment={augment!r}", f"choose one of {', '.join(get_args(Augmentation))}")
        if num_workers is not None and num_workers < 0:
            raise ConfigError(f"num_workers={num_workers}", "give an integer of at least 0")
        self.batch_size = batch_size
        self.augment = augment
        self.num_workers = num_workers
        self._parts: dict[str, Images] = {}

    @abstractmethod
    def read(self, train: bool) -> dict[str, Images]:
        """Read and check the images, and return the three parts; without ``train``, only the test part is needed.

        Raises:
            InputError: Files that are missing, damaged, or not what they should be.
        """

    def setup(self, stage: str | None = None) -> None:
        """Read the parts that the stage needs, and move images held in memory to the trainer's device.

        All parts are read before a training, even the test part, so that an error in it shows before the training, not after it.
        """
        train = stage not in ("test", "predict")
        if not self._parts.keys() >= (set(PARTS) if train else {"test"}):
            self._parts = self.read(train)
        if self.trainer:
            for part in self._parts.values():
                part.move(self.trainer.strategy.root_device)

    def part(self, name: str) -> Images:
        """Return the images and labels of ``train``, ``validation`` or ``test``, as a data set of pairs.

        Raises:
            UnknownNameError: Another part.
        """
        if name not in PARTS:
            raise UnknownNameError(f"{self.name} has no part {name!r}", f"choose one of {', '.join(PARTS)}")
        if name not in self._parts:
            self.setup("test" if name == "test" else "fit")
        return self._parts[name]

    def tensors(self, part: str) -> tuple[Tensor, Tensor]:
        """Return all images (n, channels, height, width) and labels (n,) of ``train``, ``validation`` or ``test``, in order.

        Raises:
            UnknownNameError: Another part.
        """
        images, labels = (torch.cat(batches) for batches in zip(*self._in_order(part), strict=True))
        return images.cpu(), labels

    def fingerprint(self, *parts: str) -> str:
        """Return the sha256 of all images and labels of the parts, by default of all three; reads them all."""
        return fingerprint(batch for part in parts or PARTS for batch in self._in_order(part))

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled batches of the training part; a last batch that is not full is left out.

        Raises:
            ConfigError: A batch size that the number of processes does not divide, or above the number of images.
        """
        part = self.part("train")
        return training_loader(part, self.batch_size, self._workers(part))

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation part in order, every image once on any number of processes."""
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the test part in order, every image once on any number of processes."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the test part in order."""
        return self.test_dataloader()

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:  # noqa: ARG002 - Lightning's signature
        """Augment a training batch, on the device that it was moved to."""
        # Lightning also passes example_input_array (for summaries and graphs): images without labels.
        if isinstance(batch, Tensor) or not (self.trainer and self.trainer.training):
            return batch
        images, labels = batch
        return augment(images, self.augment), labels

    def _evaluation_loader(self, name: str) -> DataLoader[Any]:
        part = self.part(name)
        world = self.trainer.world_size if self.trainer else 1
        return evaluation_loader(part, -(-self.batch_size // world), self._workers(part))

    def _workers(self, part: Images) -> int:
        if isinstance(part, Pixels):
            return 0
        if self.num_workers is not None:
            return self.num_workers
        return min(MOST_WORKERS, suggested_max_num_workers(self.trainer.num_devices if self.trainer else 1))

    def _in_order(self, name: str) -> Iterable[tuple[Tensor, Tensor]]:
        """Return all batches of a part, whatever the number of processes."""
        part = self.part(name)
        return part.batches(self.batch_size, self._workers(part))
