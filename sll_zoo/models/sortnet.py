"""SortNet: layers of sorted distances, for certificates in L∞; with ρ = 0, the L∞-distance network.

Reference: Zhang, Jiang, He and Wang, NeurIPS 2022 (arXiv 2210.01787), and its code; Zhang et al. 2021 (arXiv 2102.05363).
"""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.functional.norms import Norm
from sll_zoo.layers import MeanShift, SortHead, SortLinear
from sll_zoo.models.classifier import LipschitzClassifier
from sll_zoo.models.config import SortNetConfig
from sll_zoo.models.structure import known_network


@known_network
class SortNet(LipschitzClassifier):
    """The fully connected network of the paper, of :class:`~sll_zoo.layers.SortLinear` layers with a mean shift behind each.

    As in its code, the first layer drops no input: its ρ is 0.

    Args:
        config: The network's shape.

    Guarantee: features and each logit are 1-Lipschitz in L∞, in exact arithmetic and for any weights.

    Example:
        >>> import torch
        >>> net = SortNet(SortNetConfig(width=8, img_size=4))
        >>> net.norm, net(torch.rand(2, 3, 4, 4)).shape
        ('inf', torch.Size([2, 10]))
    """

    norm: Norm = "inf"
    config: SortNetConfig

    def __init__(self, config: SortNetConfig) -> None:
        super().__init__(config)
        height, width = config.img_size
        sizes = [config.in_chans * height * width, *[config.width] * config.layers]
        self.flatten = nn.Flatten()
        self.layers = nn.Sequential(
            *(
                nn.Sequential(SortLinear(inputs, outputs, config.rho if place else 0.0), MeanShift(outputs))
                for place, (inputs, outputs) in enumerate(pairwise(sizes))
            )
        )
        self.reset_classifier(config.num_classes)

    @property
    def stages(self) -> nn.Sequential:
        """The layers."""
        return self.layers

    def enter(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch pixels"]:
        """Return centred images as vectors."""
        flat: Tensor = self.flatten(x)
        return flat

    def leave(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """Return the output of the last layer as it is."""
        return x

    def new_head(self, num_classes: int) -> nn.Module:
        """Return an untrained head."""
        return SortHead(self.num_features, num_classes, self.config.rho)
