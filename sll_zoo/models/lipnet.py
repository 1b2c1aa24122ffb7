"""The network of the SLL paper: padding of the image or its patches, convolutions, pooling, dense layers, unit-row head.

Reference: Araujo et al., ICLR 2023 (arXiv 2303.03169v2), in the sizes of its released code.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.functional.fast.products import derivatives_are_taken_in_reverse
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
from sll_zoo.models.config import LipNetConfig
from sll_zoo.models.structure import known_network

# Where channels that are last in memory halve the time of convolutions.
CHANNELS_LAST = (("cpu", torch.float32), ("cpu", torch.float64), ("cuda", torch.float32))


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
        if (x.device.type, x.dtype) in CHANNELS_LAST and derivatives_are_taken_in_reverse(x):
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
