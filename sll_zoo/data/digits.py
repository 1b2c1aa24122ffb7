"""scikit-learn's bundled handwritten digits: 1,797 images of 8 × 8 pixels in 10 classes, no download.

Source: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits

from sll_zoo.data.base import ImageData
from sll_zoo.data.images import Images, Pixels

TEST_IMAGES = 400
VALIDATION_IMAGES = 197
# Grey level of white: levels run from 0 to 16.
WHITE = 16


class Digits(ImageData):
    """Digits with a fixed split: 1,200 images to train on, 197 to validate, 400 held out to test.

    The split is a permutation with a fixed seed: the same on every machine and in every release. Images are float32, (1, 8, 8),
    in [0, 1]: the original 17 grey levels divided by 16. Held in memory.

    Args:
        batch_size: Images in a training batch, of all processes together.

    Raises:
        ConfigError: A batch size below 1.
    """

    name = "digits"
    class_names = tuple("0123456789")
    image_shape = (1, 8, 8)

    def __init__(self, batch_size: int = 64) -> None:
        super().__init__(batch_size)

    def read(self, train: bool) -> dict[str, Images]:  # noqa: ARG002 - all are read at once
        """Return the images, which come with scikit-learn."""
        pixels, labels = load_digits(return_X_y=True)
        digits = Pixels(torch.from_numpy(pixels).byte().view(-1, *self.image_shape), torch.from_numpy(labels), WHITE)
        order = np.random.default_rng(0).permutation(len(digits))
        # Held-out images are drawn first: they stay the same if the split of the others changes.
        test, validation, train_images = np.split(order, [TEST_IMAGES, TEST_IMAGES + VALIDATION_IMAGES])
        parts = {"train": train_images, "validation": validation, "test": test}
        return {name: digits.select(index.tolist()) for name, index in parts.items()}


class DigitsByPixel(Digits):
    """The images of :class:`Digits` as sequences of 64 steps of one pixel, (1, 64, 1), one row after another.

    Distances, and so radii, are those of the images. A network that reads row by row takes :class:`Digits` itself: 8 steps of 8.

    Args:
        batch_size: Sequences in a training batch, of all processes together.

    Raises:
        ConfigError: A batch size below 1.
    """

    name = "digits_by_pixel"
    image_shape = (1, 64, 1)
