"""Data sets as LightningDataModules, one file each: float images in [0, 1], never normalised."""

from sll_zoo.data.digits import Digits

__all__ = ["Digits"]
