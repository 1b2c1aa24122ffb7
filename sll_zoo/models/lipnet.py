"""The network of the SLL paper: padding of the image or its patches, convolutions, pooling, dense layers, unit-row head.

Reference: Araujo et al., ICLR 2023 (arXiv 2303.03169v2), in the sizes of its released code.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.errors import ConfigError
from sll_zoo.layers import (
    FAMILIES,
    CyclicShift,
    NormOneAvgPool2d,
    PadChannels,
    PatchDCT,
    PixelUnshuffle,
    ResidualStack,
    WindowPartition,
    WindowReverse,
)
from sll_zoo.models.classifier import LipschitzClassifier
from sll_zoo.models.config import ConvolutionalConfig, Divisor
from sll_zoo.models.structure import known_network

# Where channels that are last in memory halve the time of convolutions.
CHANNELS_LAST = (("cpu", torch.float32), ("cpu", torch.float64), ("cuda", torch.float32))


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
    def depth(self) -> int:
        """Number of layers with weights of their own, without the head."""
        return self.conv_layers + self.dense_layers

    @property
    def divisor(self) -> Divisor:
        """The number that must divide the height and the width of the images."""
        factors = [name for name in ("downsample", "patch") if getattr(self, name) > 1]
        name = " * ".join([*factors, "lcm(window, pool)" if self.window > 1 else "pool"])
        return Divisor(name, self.downsample * self.patch * lcm(self.window, self.pool))


@known_network
class LipNet(LipschitzClassifier):
    """The network of the SLL paper; see :class:`~sll_zoo.models.LipschitzClassifier` for what it guarantees.

    Args:
        config: The network's shape.

    Example:
        >>> import torch
        >>> net = LipNet(LipNetConfig(width=8, conv_layers=1, conv_inner=2, dense_layers=1, dense_inner=4, img_size=8))
        >>> net(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """

    config: LipNetConfig

    def __init__(self, config: LipNetConfig) -> None:
        super().__init__(config)
        family = FAMILIES[config.family]
        self.downsample = NormOneAvgPool2d(config.downsample) if config.downsample > 1 else nn.Identity()
        self.patches = PixelUnshuffle(config.patch) if config.patch > 1 else nn.Identity()
        self.transform = PatchDCT(config.in_chans, config.patch) if config.dct else nn.Identity()
        self.pad = PadChannels(config.least_width, config.width)
        self.partition = WindowPartition(config.window) if config.window > 1 else nn.Identity()
        channels = config.width * config.window**2
        blocks = (
            family.conv_block(channels, config.conv_inner, config.kernel_size, config.maxmin) for _ in range(config.conv_layers)
        )
        self.convs = ResidualStack(*(self._shifted(block, place) for place, block in enumerate(blocks)))
        self.reverse = WindowReverse(config.window) if config.window > 1 else nn.Identity()
        self.pool = NormOneAvgPool2d(config.pool)
        self.denses = nn.Sequential(
            *(family.dense_block(config.num_features, config.dense_inner, config.maxmin) for _ in range(config.dense_layers))
        )
        self.reset_classifier(config.num_classes)

    @property
    def stages(self) -> nn.Sequential:
        """The convolutions."""
        return self.convs

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """The list that timm's ``FeatureInfo`` takes, an entry for each convolution."""
        window = self.config.window
        reduction = self.config.downsample * self.config.patch * window
        size = {"num_chs": self.config.width * window**2, "reduction": reduction}
        return [{**size, "module": f"convs.{index}"} for index in range(len(self.convs))]

    def enter(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch width rows columns"]:
        """Return the padded patches of centred images, in windows."""
        x = self.patches(self.downsample(x))
        if (x.device.type, x.dtype) in CHANNELS_LAST:
            x = x.contiguous(memory_format=torch.channels_last)
        padded: Tensor = self.pad(self.transform(x))
        device = x.device.type
        if torch.is_autocast_enabled(device) and x.dtype == torch.float32 and not self.grad_checkpointing:
            # Values between layers, too: a sixth less time in small networks. The gradient of 50 layers turns by 0.045 rad, where
            # products in bfloat16 alone turn it by 0.032.
            padded = padded.to(torch.get_autocast_dtype(device))
        entering: Tensor = self.partition(padded)
        return entering

    def leave(self, x: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch features"]:
        """Return the features (batch, num_features) for the output of the convolutions."""
        features: Tensor = self.denses(self.pool(self.reverse(x)).flatten(1))
        return features

    def _shifted(self, block: nn.Module, place: int) -> nn.Module:
        """Return a convolution with the shift of windows behind it: there behind the first, back behind the second, and so on."""
        back, last = place % 2 == 1, place == self.config.conv_layers - 1
        if self.config.window == 1 or (last and not back):
            return block
        return nn.Sequential(block, CyclicShift(self.config.window, back))
