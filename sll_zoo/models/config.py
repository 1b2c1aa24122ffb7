"""Configurations of networks, checked before anything is allocated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import isfinite, lcm
from typing import NamedTuple

from sll_zoo.errors import ConfigError, UnknownNameError, is_number, require_integer
from sll_zoo.functional.sorting import require_rho
from sll_zoo.layers import FAMILIES

MAY_BE_ZERO = ("conv_layers", "dense_layers", "num_classes")
MOST_BLOCKS = 16  # each block halves the image, and no image has an edge of 2^16 pixels
# The families of networks in L∞, and the ρ of their named models.
SORT_FAMILIES = {"sortnet": 0.3, "linfdist": 0.0}


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
        if not isinstance(mean, list | tuple) or not all(is_number(value) and isfinite(value) for value in mean):
            raise ConfigError(f"mean={mean!r}", "give one finite number for each channel, or one for all, as in (0.5,)")
        object.__setattr__(self, "mean", tuple(mean))
        for field in fields(self):
            if field.type == "int":
                require_integer(field.name, getattr(self, field.name), at_least=0 if field.name in MAY_BE_ZERO else 1)
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
        return self.width

    @property
    def depth(self) -> int:
        """Number of layers with weights of their own, without the head: the settings that count layers, summed."""
        return sum(getattr(self, field.name) for field in fields(self) if field.name.endswith("layers"))

    @property
    def divisor(self) -> Divisor:
        """The number that must divide the height and the width of the images."""
        return Divisor("1", 1)

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


@dataclass(frozen=True, kw_only=True)
class LipNetConfig(ConvolutionalConfig):
    """The shape of a :class:`~sll_zoo.models.LipNet`, beside the settings that every network of convolutions has.

    Attributes:
        conv_layers: Number of convolutional layers.
        conv_inner: Inner channels of each.
        downsample: Edge of the squares of pixels whose sum, divided by this edge, stands for one pixel in all that follows: for
            a network that is to grow (:func:`~sll_zoo.grow`).
        patch: Edge of the squares of pixels that the convolutions take as one pixel of ``in_chans * patch²`` channels.
        dct: Whether these channels are the cosine transform of the square instead of its pixels.
        window: Edge of the windows of these pixels that the convolutions take as one; 1, or even. Behind every other convolution
            they are shifted by half of it, and back behind the others. With ``kernel_size`` 1, each is a dense layer on windows.
        pool: Edge of the pooling windows behind the convolutions; ``downsample`` times ``patch`` times the least common multiple
            of ``window`` and ``pool`` divides the size of the images.
        maxmin: Whether MaxMin follows residual layers too, which have an activation inside; linear ones always have it. The
            convolutions then keep their inputs in memory during a training.
        dense_layers: Number of dense layers.
        dense_inner: Inner features of each.
    """

    conv_layers: int
    conv_inner: int
    dense_layers: int
    dense_inner: int
    downsample: int = 1
    patch: int = 1
    dct: bool = False
    window: int = 1
    pool: int = 4
    maxmin: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.window, int) and self.window > 1 and self.window % 2:
            raise ConfigError(f"window={self.window}", "give 1 or an even number: windows are shifted by half of it")
        super().__post_init__()
        for name in ("dct", "maxmin"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name}={getattr(self, name)!r}", "give True or False")
        if self.maxmin and FAMILIES[self.family].form != "residual":
            raise ConfigError(f"maxmin=True for family={self.family!r}", "leave it out: it is for residual families, such as sll")

    @property
    def num_features(self) -> int:
        """Length of the feature vector under the head."""
        height, width = self.img_size
        reduction = self.downsample * self.patch * self.pool
        return self.width * (height // reduction) * (width // reduction)

    @property
    def least_width(self) -> int:
        """Channels that are padded to ``width``: of all pixels of a patch."""
        return self.in_chans * self.patch**2

    @property
    def divisor(self) -> Divisor:
        """The number that must divide the height and the width of the images."""
        factors = [name for name in ("downsample", "patch") if getattr(self, name) > 1]
        name = " * ".join([*factors, "lcm(window, pool)" if self.window > 1 else "pool"])
        return Divisor(name, self.downsample * self.patch * lcm(self.window, self.pool))


@dataclass(frozen=True, kw_only=True)
class LipConvNetConfig(ConvolutionalConfig):
    """The shape of a :class:`~sll_zoo.models.LipConvNet`, beside those that every network of convolutions has; ``width`` is even.

    Attributes:
        blocks: Number of blocks; each halves the image and doubles the channels.
        block_layers: Number of convolutional layers of each block.
    """

    blocks: int = 5
    block_layers: int = 5

    def __post_init__(self) -> None:
        if isinstance(self.blocks, int) and self.blocks > MOST_BLOCKS:
            raise ConfigError(f"blocks={self.blocks}", f"each halves the image: give at most {MOST_BLOCKS}")
        super().__post_init__()
        if self.width % 2:
            raise ConfigError(f"width={self.width} is odd", "choose an even one: each block keeps half of its channels")

    @property
    def num_features(self) -> int:
        """Length of the feature vector under the head."""
        return self.width << self.blocks

    @property
    def depth(self) -> int:
        """Number of layers with weights of their own, without the head."""
        return self.blocks * self.block_layers + 2  # plus the first convolution and the last dense layer

    @property
    def divisor(self) -> Divisor:
        """The number that must divide the height and the width of the images."""
        return Divisor("2^blocks", 1 << self.blocks)


@dataclass(frozen=True, kw_only=True)
class LipRNNConfig(FamilyConfig):
    """The shape of a :class:`~sll_zoo.models.LipRNN`, beside the settings that every network of a family has.

    An image is a sequence: ``img_size`` is (steps, features), and each step has ``in_chans`` times ``features`` numbers.

    Attributes:
        width: Length of the state.
        cell_layers: Number of layers of a step, each on the state and the input together.
        cell_inner: Inner features of each.
        dense_layers: Number of dense layers behind the last state.
        dense_inner: Inner features of each.
    """

    cell_layers: int
    cell_inner: int
    dense_layers: int
    dense_inner: int

    @property
    def inputs(self) -> int:
        """Numbers of one step."""
        return self.in_chans * self.img_size[1]


@dataclass(frozen=True, kw_only=True)
class SortNetConfig(NetworkConfig):
    """The shape of a :class:`~sll_zoo.models.SortNet`, beside the settings that every network has; all layers have one ``width``.

    Attributes:
        layers: Number of layers before the head.
        rho: ρ of each of them but the first, and of the head; 0 for the L∞-distance network.
    """

    layers: int = 2
    rho: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        require_rho(self.rho)

    @property
    def family(self) -> str:
        """``sortnet``, or ``linfdist`` where ρ is 0."""
        return "sortnet" if self.rho else "linfdist"
