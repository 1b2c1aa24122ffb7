"""The data sets that tags stand for."""

from __future__ import annotations

from dataclasses import dataclass

from sll_zoo.class_names import CIFAR10_CLASSES, CIFAR100_CLASSES, TINY_IMAGENET_CLASSES, TRAFFIC_SIGNS


@dataclass(frozen=True)
class TagData:
    """The data set that a tag stands for.

    Attributes:
        input_size: (channels, height, width).
        num_classes: Number of classes.
        mean: Mean of each channel, which the model subtracts.
        label_names: Names of the classes, in order.
    """

    input_size: tuple[int, int, int]
    num_classes: int
    mean: tuple[float, ...]
    label_names: tuple[str, ...]


# Means of CIFAR and Tiny-ImageNet: those of the paper's released code. Digits: of the 1,200 training images.
# digits_by_pixel: the same images as sequences of 64 steps.
# gtsrb: of 26,638 of the 26,640 training images in torchvision's layout, resized.
DATA_OF_TAG = {
    "digits": TagData((1, 8, 8), 10, (0.3051,), tuple("0123456789")),
    "digits_by_pixel": TagData((1, 64, 1), 10, (0.3051,), tuple("0123456789")),
    "cifar10": TagData((3, 32, 32), 10, (0.4913, 0.4821, 0.4465), CIFAR10_CLASSES),
    "cifar100": TagData((3, 32, 32), 100, (0.5071, 0.4865, 0.4409), CIFAR100_CLASSES),
    "tiny_imagenet": TagData((3, 64, 64), 200, (0.485, 0.456, 0.406), TINY_IMAGENET_CLASSES),
    "gtsrb": TagData((3, 32, 32), 43, (0.3363, 0.3198, 0.3224), TRAFFIC_SIGNS),
}
# The training images of gtsrb that were at hand, divided by sign.
DATA_OF_TAG["gtsrb_subset_26638"] = DATA_OF_TAG["gtsrb"]
