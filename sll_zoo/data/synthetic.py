"""Images made up on the spot, for tests and first steps: no files, and any shape and number of classes."""

from __future__ import annotations

import numpy as np
import torch

from sll_zoo.data.base import ImageData
from sll_zoo.data.images import Images, Pixels, split
from sll_zoo.errors import ConfigError

# Standard deviation of the noise on each pixel, in 8-bit values; the patterns range over half of them.
NOISE = 32


class Synthetic(ImageData):
    """Images that are a random pattern for each class plus noise: the same ones each time, held in memory.

    Args:
        images: Number of all images; a tenth of them is held out to test, and a tenth of the rest to validate.
        num_classes: Number of classes, each with as many images as the others, or one more.
        shape: (channels, height, width).
        batch_size: Images in a training batch, of all processes together.

    Raises:
        ConfigError: A number or size below 1.
    """

    name = "synthetic"
    held_out_arguments = ("images", "num_classes", "shape")

    def __init__(
        self, images: int = 1000, num_classes: int = 10, shape: tuple[int, int, int] = (3, 32, 32), batch_size: int = 64
    ) -> None:
        super().__init__(batch_size)
        if min(images, num_classes, *shape) < 1:
            raise ConfigError(f"images={images}, num_classes={num_classes}, shape={shape}", "give integers of at least 1")
        self.images = images
        self.num_classes = num_classes
        self.shape = shape
        self.class_names = tuple(map(str, range(num_classes)))

    def read(self, train: bool) -> dict[str, Images]:  # noqa: ARG002 - all are made at once
        """Return the images."""
        random = np.random.default_rng(0)
        patterns = random.integers(64, 192, (len(self.class_names), *self.shape))
        labels = np.arange(self.images) % len(self.class_names)
        noisy = patterns[labels] + NOISE * random.standard_normal((self.images, *self.shape), dtype=np.float32)
        rest, test = split(Pixels(torch.from_numpy(noisy.clip(0, 255).astype(np.uint8)), torch.from_numpy(labels)))
        train_images, validation = split(rest)
        return {"train": train_images, "validation": validation, "test": test}
