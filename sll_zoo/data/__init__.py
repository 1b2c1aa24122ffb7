"""Data sets as LightningDataModules, one file each, and folders of images: float in [0, 1], never normalised."""

from sll_zoo.data.digits import Digits
from sll_zoo.data.held_out import DATA, HeldOut, check_source, fingerprint, open_data
from sll_zoo.data.loading import EvaluationLoader, UnpaddedSampler, evaluation_loader

__all__ = [
    "DATA",
    "Digits",
    "EvaluationLoader",
    "HeldOut",
    "UnpaddedSampler",
    "check_source",
    "evaluation_loader",
    "fingerprint",
    "open_data",
]
