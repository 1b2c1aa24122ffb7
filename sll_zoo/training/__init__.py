"""LightningModules, optimizers, schedules and callbacks."""

import lazy_loader

SUBMODULES = ("callbacks", "checkpoint_files", "loggers", "memory", "optimizers", "schedules", "task")
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, SUBMODULES)
