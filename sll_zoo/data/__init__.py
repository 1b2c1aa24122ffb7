"""Data sets as LightningDataModules, one file each: float images in [0, 1], never normalised."""

from sll_zoo.data.digits import Digits
from sll_zoo.data.loading import EvaluationLoader, UnpaddedSampler, evaluation_loader

__all__ = ["Digits", "EvaluationLoader", "UnpaddedSampler", "evaluation_loader"]
