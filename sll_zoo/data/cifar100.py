"""CIFAR-100: 60,000 photographs of 32 × 32 pixels in 100 classes.

Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
"""

from __future__ import annotations

from typing import ClassVar

from torchvision import datasets

from sll_zoo.data.cifar10 import CIFAR10


class CIFAR100(CIFAR10):
    """As :class:`CIFAR10`, with the 100 fine classes; held in memory, too."""

    name = "cifar100"
    archive = datasets.CIFAR100
    classes = 100
    counts: ClassVar[dict[str, int]] = {"train": 500, "test": 100}
    genuine: ClassVar[dict[str, str]] = {
        "train": "27ae4e92fc7cbc4c0511e980ac7d3ecad8bd20395ceadcc05b4c292a2c307115",
        "validation": "9896e52c5b87453f7ce7928059a5ed6afc777819736286c66fcc2a9c2be020c3",
        "test": "c034acf4c614c6a88d29cbc1cf6f73b82bfeb846f4eb61870a3b06b3154591c3",
    }
