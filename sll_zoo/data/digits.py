"""scikit-learn's bundled handwritten digits: 1,797 images of 8 × 8 pixels in 10 classes, no download.

Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning import LightningDataModule
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from sll_zoo.data.loading import evaluation_loader
from sll_zoo.errors import ConfigError, UnknownNameError

TEST_IMAGES = 400
VALIDATION_IMAGES = 197


class Digits(LightningDataModule):
    """Digits with a fixed split: 1,200 images to train on, 197 to validate, 400 held out to test.

    The split is a permutation with a fixed seed: the same on every machine and in every release. Images are float32, (1, 8, 8),
    in [0, 1]: the original 17 grey levels divided by 16.

    Args:
        batch_size: Images in a training batch.

    Raises:
        ConfigError: A batch size below 1.
    """

    name = "digits"
    class_names = tuple("0123456789")

    def __init__(self, batch_size: int = 64) -> None:
        super().__init__()
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}", "give an integer of at least 1")
        self.batch_size = batch_size

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002 - Lightning's signature
        """Read the images, which come with scikit-learn."""
        pixels, labels = load_digits(return_X_y=True)
        images = torch.from_numpy(pixels / 16).float().view(-1, 1, 8, 8)
        order = np.random.default_rng(0).permutation(len(images))
        # The held-out images come first, so that they stay the same whatever becomes of the rest.
        test, validation, train = np.split(order, [TEST_IMAGES, TEST_IMAGES + VALIDATION_IMAGES])
        self._parts = {
            name: TensorDataset(images[index], torch.from_numpy(labels)[index].long())
            for name, index in {"train": train, "validation": validation, "test": test}.items()
        }

    def tensors(self, part: str) -> tuple[Tensor, Tensor]:
        """Return all images (n, 1, 8, 8) and labels (n,) of ``train``, ``validation`` or ``test``.

        Raises:
            UnknownNameError: Another part.
        """
        if not hasattr(self, "_parts"):
            self.setup()
        if part not in self._parts:
            raise UnknownNameError(f"digits have no part {part!r}", f"choose one of {', '.join(self._parts)}")
        images, labels = self._parts[part].tensors
        return images, labels

    def train_dataloader(self) -> DataLoader[Any]:
        """Return shuffled batches of the training part."""
        return DataLoader(self._parts["train"], batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the validation part in order, every image once on any number of processes."""
        return evaluation_loader(self._parts["validation"], self.batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        """Return the held-out part in order, every image once on any number of processes."""
        return evaluation_loader(self._parts["test"], self.batch_size)

    def predict_dataloader(self) -> DataLoader[Any]:
        """Return the held-out part in order."""
        return self.test_dataloader()
