"""Data sets as LightningDataModules, one file each, and folders of images: float in [0, 1], never normalised."""

import lazy_loader

# Names are imported when they are first used, as in sll_zoo itself: measuring on a folder of images does not wait for Lightning.
# __init__.pyi says from where, and lists them all.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
