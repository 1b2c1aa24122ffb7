"""Data sets as LightningDataModules, one file each, and folders of images: float in [0, 1], never normalised."""

import lazy_loader

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

# Names are imported when they are first used, as in sll_zoo itself: measuring on a folder of images does not wait for Lightning.
__getattr__, __dir__, _ = lazy_loader.attach_stub(__name__, __file__)
