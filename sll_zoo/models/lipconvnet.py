"""The downsampling network of "1-Lipschitz Layers Compared": far fewer parameters than the networks of the SLL paper.

Reference: Prach, Brau, Buttazzo and Lampert, CVPR 2024 (arXiv 2311.16833), tables 5 to 7.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.layers import FAMILIES, PadChannels, PixelUnshuffle, TruncateChannels
from sll_zoo.models.classifier import LipschitzClassifier
from sll_zoo.models.config import LipConvNetConfig
from sll_zoo.models.structure import known_network


@known_network
class LipConvNet(LipschitzClassifier):
    """Blocks of convolutions, each of which halves the image and doubles the channels; then one dense layer and the head.

    A block has ``block_layers`` convolutions, each followed by MaxMin, residual ones too, but not sandwich layers; then it keeps
    the first half of the channels, and ``PixelUnshuffle(2)`` halves the image. Kernels are 1 × 1 before the first block and in
    the last block. Max-pooling reduces the remaining image to one pixel (32 × 32 images have only one after five blocks). In the
    paper, the logits are the first outputs of the last layer; here the head follows that layer. See
    :class:`~sll_zoo.models.LipschitzClassifier` for what the network guarantees.

    Args:
        config: The network's shape.

    Example:
        >>> import torch
        >>> net = LipConvNet(LipConvNetConfig(width=4, blocks=2, block_layers=1, img_size=8))
        >>> net(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """

    config: LipConvNetConfig

    def __init__(self, config: LipConvNetConfig) -> None:
        super().__init__(config)
        self.pad = PadChannels(config.in_chans, config.width)
        self.stem = _layer(config.family, config.width, 1)
        self.blocks = nn.Sequential(*(_block(config, index) for index in range(config.blocks)))
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.dense = FAMILIES[config.family].dense_block(config.num_features, config.num_features)
        self.reset_classifier(config.num_classes)

    @property
    def stages(self) -> nn.Sequential:
        """The blocks."""
        return self.blocks

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """The list that timm's ``FeatureInfo`` takes, an entry for each block."""
        return [
            {"num_chs": self.config.width << index + 1, "reduction": 2 << index, "module": f"blocks.{index}"}
            for index in range(len(self.blocks))
        ]

    def enter(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch width h w"]:
        """Return the input of the first block for centred images."""
        first: Tensor = self.stem(self.pad(x))
        return first

    def leave(self, x: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch features"]:
        """Return the features (batch, num_features) for the output of the last block."""
        features: Tensor = self.dense(self.pool(x).flatten(1))
        return features


def _block(config: LipConvNetConfig, index: int) -> nn.Sequential:
    channels = config.width * 2**index
    kernel_size = 1 if index == config.blocks - 1 else config.kernel_size
    layers = (_layer(config.family, channels, kernel_size) for _ in range(config.block_layers))
    return nn.Sequential(*layers, TruncateChannels(channels // 2), PixelUnshuffle(2))


def _layer(family: str, channels: int, kernel_size: int) -> nn.Module:
    return FAMILIES[family].conv_block(channels, channels, kernel_size, maxmin=True)
