"""What the configurations of networks have in common, checked before anything is allocated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isfinite
from typing import NamedTuple

from sll_zoo.errors import ConfigError, UnknownNameError
from sll_zoo.layers import FAMILIES

MAY_BE_ZERO = ("conv_layers", "dense_layers", "num_classes")


class Divisor(NamedTuple):
    """A number that must divide the height and the width of the images, and its name."""

    name: str
    value: int


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The settings that every network has.

    Attributes:
        width: Channels or features of the first layer.
        in_chans: Channels of the images.
        img_size: Height and width of the images in pixels; one number stands for both.
        num_classes: Number of logits; 0 for a network that returns features.
        mean: Subtracted from the images: one value for each channel; a single one stands for all.

    Raises:
        ConfigError: A value that no network can have.
    """

    width: int
    in_chans: int = 3
    img_size: tuple[int, int] = (32, 32)
    num_classes: int = 10
    mean: tuple[float, ...] = (0.5,)  # the middle of the range [0, 1]

    def __post_init__(self) -> None:
        size, mean = self.img_size, self.mean
        object.__setattr__(self, "img_size", tuple(size) if isinstance(size, Sequence) else (size, size))
        if not isinstance(mean, list | tuple) or not all(isinstance(value, int | float) and isfinite(value) for value in mean):
            raise ConfigError(f"mean={mean!r}", "give one finite number for each channel, or one for all, as in (0.5,)")
        object.__setattr__(self, "mean", tuple(mean))
        for field in fields(self):
            if field.type == "int":
                self._require_integer(field.name, at_least=0 if field.name in MAY_BE_ZERO else 1)
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
    def family(self) -> str:
        """The family of its layers."""
        raise NotImplementedError

    @property
    def num_features(self) -> int:
        """Length of the feature vector under the head."""
        raise NotImplementedError

    @property
    def depth(self) -> int:
        """Number of layers with weights of their own, without the head."""
        raise NotImplementedError

    @property
    def divisor(self) -> Divisor:
        """The number that must divide the height and the width of the images."""
        return Divisor("1", 1)

    def _require_integer(self, name: str, at_least: int) -> None:
        value = getattr(self, name)
        if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
            raise ConfigError(f"{name}={value!r}", f"give an integer of at least {at_least}")

    def _require_divisible_size(self) -> None:
        size, (name, divisor) = self.img_size, self.divisor
        if len(size) != 2 or not all(isinstance(edge, int) and edge >= 1 and edge % divisor == 0 for edge in size):
            if divisor == 1:
                raise ConfigError(f"img_size={size}", "give a height and a width, each at least 1")
            raise ConfigError(
                f"img_size={size} is not divided by {name}={divisor}",
                f"give a height and a width that are multiples of {divisor}, or another {name}",
            )


@dataclass(frozen=True, kw_only=True)
class FamilyConfig(NetworkConfig):
    """The settings of networks of a family of ``sll_zoo.layers.FAMILIES``, beside those that every network has.

    Attributes:
        family: The 1-Lipschitz family.

    Raises:
        UnknownNameError: A family that does not exist.
    """

    family: str = "sll"

    def __post_init__(self) -> None:
        if self.family not in tuple(FAMILIES):
            raise UnknownNameError(f"family={self.family!r}", f"choose one of {', '.join(FAMILIES)}")
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class ConvolutionalConfig(FamilyConfig):
    """The settings of networks of convolutions.

    Attributes:
        width: Channels of the first convolution, to which those of the image, or of a patch, are padded: at least as many.
        kernel_size: Kernel size of each convolution; odd.
    """

    kernel_size: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size={self.kernel_size} is even", "choose an odd one, for example 3")
        if self.least_width > self.width:
            raise ConfigError(
                f"width={self.width} is less than the channels to pad, {self.least_width} (in_chans={self.in_chans})",
                f"pass width={self.least_width} or more, or a larger model",
            )

    @property
    def least_width(self) -> int:
        """Channels that are padded to ``width``."""
        return self.in_chans
