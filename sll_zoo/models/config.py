"""What a network is made of, checked before anything is allocated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

from sll_zoo.errors import ConfigError, UnknownNameError
from sll_zoo.layers import FAMILIES


@dataclass(frozen=True, kw_only=True)
class LipNetConfig:
    """The shape of a :class:`~sll_zoo.models.LipNet`.

    Attributes:
        width: Channels at full resolution; the image's channels are padded to it.
        conv_layers: Number of convolutional layers.
        conv_inner: Inner channels of each.
        kernel_size: Of each; odd.
        pool: Edge of the pooling windows between the convolutions and the dense layers.
        dense_layers: Number of dense layers.
        dense_inner: Inner features of each.
        family: The 1-Lipschitz family, a key of ``sll_zoo.layers.FAMILIES``.
        in_chans: Channels of the images, at most ``width``.
        img_size: Height and width of the images in pixels, multiples of ``pool``; one number stands for both.
        num_classes: Number of logits; 0 for a network that returns features.
        mean: Subtracted from the images: one value for each channel; a single one stands for all.

    Raises:
        ConfigError: A value that no network can have.
        UnknownNameError: A family that does not exist.
    """

    width: int
    conv_layers: int
    conv_inner: int
    dense_layers: int
    dense_inner: int
    kernel_size: int = 3
    pool: int = 4
    family: str = "sll"
    in_chans: int = 3
    img_size: tuple[int, int] = (32, 32)
    num_classes: int = 10
    mean: tuple[float, ...] = (0.5,)  # the middle of [0, 1]

    def __post_init__(self) -> None:
        size, mean = self.img_size, self.mean
        object.__setattr__(self, "img_size", tuple(size) if isinstance(size, Sequence) else (size, size))
        if not isinstance(mean, list | tuple) or not all(isinstance(value, int | float) and isfinite(value) for value in mean):
            raise ConfigError(f"mean={mean!r}", "give one finite number for each channel, or one for all, as in (0.5,)")
        object.__setattr__(self, "mean", tuple(mean))
        if self.family not in tuple(FAMILIES):
            raise UnknownNameError(f"family={self.family!r}", f"choose one of {', '.join(FAMILIES)}")
        for name in ("width", "conv_inner", "dense_inner", "kernel_size", "pool", "in_chans"):
            self._require_integer(name, at_least=1)
        for name in ("conv_layers", "dense_layers", "num_classes"):
            self._require_integer(name, at_least=0)
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size={self.kernel_size} is even", "choose an odd one, for example 3")
        if self.in_chans > self.width:
            raise ConfigError(
                f"in_chans={self.in_chans} is more than width={self.width}",
                f"pass width={self.in_chans} or more, or a larger model",
            )
        if len(self.mean) not in (1, self.in_chans):
            raise ConfigError(
                f"mean has {len(self.mean)} values for in_chans={self.in_chans}", "give one value, or one for each channel"
            )
        self._require_divisible_size()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one image: (channels, height, width)."""
        return (self.in_chans, *self.img_size)

    @property
    def channel_means(self) -> tuple[float, ...]:
        """One mean for each channel of the image."""
        return self.mean * self.in_chans if len(self.mean) == 1 else self.mean

    @property
    def num_features(self) -> int:
        """Length of the feature vector under the head."""
        height, width = self.img_size
        return self.width * (height // self.pool) * (width // self.pool)

    def _require_integer(self, name: str, at_least: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
            raise ConfigError(f"{name}={value!r}", f"give an integer of at least {at_least}")

    def _require_divisible_size(self) -> None:
        size, pool = self.img_size, self.pool
        if len(size) != 2 or not all(isinstance(edge, int) and edge >= 1 and edge % pool == 0 for edge in size):
            raise ConfigError(
                f"img_size={size} is not divided by pool={pool}",
                f"give a height and a width that are multiples of {pool}, or another pool",
            )
