"""A recurrent network, 1-Lipschitz over the whole sequence: an image is read row by row, or pixel by pixel."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.layers import FAMILIES, Recurrent
from sll_zoo.models.classifier import LipschitzClassifier
from sll_zoo.models.config import LipRNNConfig
from sll_zoo.models.structure import known_network


@known_network
class LipRNN(LipschitzClassifier):
    """A recurrent layer over the rows of an image, dense layers on its last state, and the head.

    The radius is the L2 length of a change of the whole sequence. The weights serve any length, but a network takes the one that
    its configuration states: sequences of other lengths are refused, and those of several lengths make no batch. See
    :class:`~sll_zoo.models.LipschitzClassifier` for what the network guarantees, and :class:`~sll_zoo.layers.Recurrent` for why.

    Args:
        config: The network's shape.

    Example:
        >>> import torch
        >>> config = LipRNNConfig(width=8, cell_layers=1, cell_inner=4, dense_layers=1, dense_inner=4, img_size=(17, 2))
        >>> LipRNN(config)(torch.rand(2, 3, 17, 2)).shape
        torch.Size([2, 10])
    """

    config: LipRNNConfig

    def __init__(self, config: LipRNNConfig) -> None:
        super().__init__(config)
        family, both = FAMILIES[config.family], config.inputs + config.width
        blocks = [family.dense_block(both, config.cell_inner) for _ in range(config.cell_layers)]
        layers = [layer for block in blocks for layer in (block if isinstance(block, nn.Sequential) else [block])]
        self.recurrent = Recurrent(config.inputs, config.width, *layers)
        self.denses = nn.Sequential(*(family.dense_block(config.width, config.dense_inner) for _ in range(config.dense_layers)))
        self.reset_classifier(config.num_classes)

    @property
    def stages(self) -> nn.Sequential:
        """No stages: the states of all steps together, which would be the maps, are no 1-Lipschitz function of the image."""
        return nn.Sequential()

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """The empty list, since there are no stages."""
        return []

    def enter(self, x: Float[Tensor, "batch channels steps features"]) -> Float[Tensor, "batch channels steps features"]:
        """Return centred images as they are."""
        return x

    def leave(self, x: Float[Tensor, "batch channels steps features"]) -> Float[Tensor, "batch state"]:
        """Return the features (batch, width) of centred images."""
        features: Tensor = self.denses(self.recurrent(x))
        return features
