"""Data sets as LightningDataModules, one file each, and folders of images: float in [0, 1], never normalised."""

from sll_zoo.data.base import ImageData
from sll_zoo.data.cifar10 import CIFAR10
from sll_zoo.data.cifar100 import CIFAR100
from sll_zoo.data.digits import Digits, DigitsByPixel
from sll_zoo.data.fingerprint import fingerprint
from sll_zoo.data.held_out import DATA_MODULES, HeldOut, check_source, open_data
from sll_zoo.data.image_folder import ImageFolder
from sll_zoo.data.loading import EvaluationLoader, UnpaddedSampler, evaluation_loader, training_loader
from sll_zoo.data.reading import load_images
from sll_zoo.data.synthetic import Synthetic
from sll_zoo.data.tiny_imagenet import TinyImageNet
from sll_zoo.data.traffic_signs import TrafficSigns

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "DATA_MODULES",
    "Digits",
    "DigitsByPixel",
    "EvaluationLoader",
    "HeldOut",
    "ImageData",
    "ImageFolder",
    "Synthetic",
    "TinyImageNet",
    "TrafficSigns",
    "UnpaddedSampler",
    "check_source",
    "evaluation_loader",
    "fingerprint",
    "load_images",
    "open_data",
    "training_loader",
]
