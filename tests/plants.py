"""Small networks, and a way to spoil them."""

import torch

from sll_zoo.layers import SLLLinear
from sll_zoo.models import LipConvNet, LipConvNetConfig, LipNet, LipNetConfig, SortNet, SortNetConfig


def network(family="sll", **changes):
    sizes = {"width": 4, "conv_layers": 2, "conv_inner": 3, "dense_layers": 2, "dense_inner": 5, "img_size": 8}
    return LipNet(LipNetConfig(**sizes, family=family, **changes))


def downsampling(family="sll"):
    return LipConvNet(LipConvNetConfig(width=4, blocks=2, block_layers=1, img_size=8, family=family))


def sorting(rho=0.3):
    """Return a network in L∞ for images (2, 4, 3), in eval mode, whose classes are near four images."""
    net = SortNet(SortNetConfig(width=6, layers=2, rho=rho, in_chans=2, img_size=(4, 3), num_classes=4))
    images = torch.rand(50, 2, 4, 3)
    net(images)
    net.eval().head.weight.data.copy_(-net.forward_features(images[:4]))
    return net


def stretch(module, factor=1.01):
    """Make a layer return ``factor`` times its output."""
    kind = type(module)
    module.__class__ = type("Louder", (kind,), {"forward": lambda self, x: factor * kind.forward(self, x)})


class Longer(LipNet):
    """A user's own network: one more layer, in a body that is a chain."""

    def __init__(self, config):
        super().__init__(config)
        self.last = SLLLinear(self.num_features, 3)

    def body(self, x):
        return self.last(super().body(x))
