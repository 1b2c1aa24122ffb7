"""CIFAR-100: 60,000 photographs of 32 × 32 pixels in 100 classes.

Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
"""

from __future__ import annotations

from torchvision import datasets

from sll_zoo.data.cifar10 import CIFAR10


class CIFAR100(CIFAR10):
    """As :class:`CIFAR10`, with the 100 fine classes; held in memory, too."""

    name = "cifar100"
    reader = datasets.CIFAR100
