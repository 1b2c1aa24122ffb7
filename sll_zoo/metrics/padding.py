"""A check for loaders that repeat or drop images, which makes every metric wrong."""

from __future__ import annotations

from collections.abc import Sized
from typing import Any, cast

from torch.utils.data import DistributedSampler

from sll_zoo.compat import leaves
from sll_zoo.errors import ConfigError


def require_each_once(loaders: Any) -> None:
    """Raise ConfigError where the sampler of a loader repeats or drops images to give all processes the same number."""
    for loader in leaves(loaders):
        sampler = getattr(loader, "sampler", None)
        if isinstance(sampler, DistributedSampler) and sampler.total_size != (images := len(cast("Sized", sampler.dataset))):
            raise ConfigError(
                f"a {type(sampler).__name__} deals out {sampler.total_size} of {images} images, and each is to count once",
                "take the loader from sll_zoo.data.evaluation_loader, or use one process",
            )
