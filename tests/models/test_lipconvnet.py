import pytest
import torch
from torch import nn

from sll_zoo.layers import AOLConv2d, MaxMin, SLLConv2d
from sll_zoo.models import LipConvNet, LipConvNetConfig


def test_each_block_halves_the_image_and_doubles_the_channels():
    net = LipConvNet(LipConvNetConfig(width=4, blocks=3, block_layers=1))
    x, shapes = torch.rand(1, 4, 32, 16), []
    for block in net.blocks:
        shapes.append(tuple(x.shape[1:]))
        x = block(x)
    assert [*shapes, tuple(x.shape[1:])] == [(4, 32, 16), (8, 16, 8), (16, 8, 4), (32, 4, 2)]


def test_kernels_are_single_pixels_before_the_first_block_and_in_the_last():
    net = LipConvNet(LipConvNetConfig(width=4, blocks=3, block_layers=2))
    kernels = [module.weight.shape[-1] for module in net.modules() if isinstance(module, SLLConv2d)]
    assert kernels == [1, 3, 3, 3, 3, 1, 1]


def test_images_larger_than_the_blocks_reduce_are_pooled_to_one_pixel():
    net = LipConvNet(LipConvNetConfig(width=4, blocks=2, block_layers=1, img_size=12))
    x = torch.rand(2, 4, 12, 12)
    torch.testing.assert_close(net.body(x[:, :3]), net.dense(net.blocks(net.stem(net.pad(x[:, :3]))).amax((2, 3))))
    assert isinstance(net.pool, nn.AdaptiveMaxPool2d)


@pytest.mark.parametrize("family", ["sll", "aol"])
def test_maxmin_follows_every_convolution_once(family):
    net = LipConvNet(LipConvNetConfig(width=4, blocks=2, block_layers=2, family=family))
    order = [isinstance(module, MaxMin) for module in [*net.stem.modules(), *net.blocks.modules()] if is_layer(module)]
    assert order == [False, True] * 5


def is_layer(module):
    return isinstance(module, MaxMin | SLLConv2d | AOLConv2d)
