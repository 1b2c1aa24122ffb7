import pytest
import torch
from torch import nn

from sll_zoo.layers import Center, NormOneAvgPool2d, PadChannels, PixelUnshuffle


def operator_norm(layer, *shape):
    """Return the largest singular value of a linear layer from its impulse responses."""
    zero = torch.zeros(1, *shape, dtype=torch.float64)
    basis = torch.eye(zero.numel(), dtype=torch.float64).view(-1, *shape)
    return torch.linalg.matrix_norm((layer(basis) - layer(zero)).flatten(1), 2).item()


def test_the_shapes_are_of_norm_exactly_one():
    for layer in (Center([0.1, 0.2]).double(), PadChannels(2, 5), *(NormOneAvgPool2d(k) for k in (1, 2, 4))):
        assert abs(operator_norm(layer, 2, 4, 8) - 1) < 1e-12


def test_center_subtracts_each_channels_mean():
    x = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(Center([0.1, 0.2, 0.3])(x)[:, 1], x[:, 1] - 0.2)


def test_padding_keeps_the_image_and_adds_zeros():
    x = torch.rand(2, 3, 4, 4)
    padded = PadChannels(3, 5)(x)
    assert torch.equal(padded[:, :3], x)
    assert not padded[:, 3:].any()


@pytest.mark.parametrize("edge", [1, 2, 4])
def test_pixels_are_moved_as_pytorch_moves_them(edge):
    x = torch.rand(2, 3, 8, 4)
    assert torch.equal(PixelUnshuffle(edge)(x), nn.PixelUnshuffle(edge)(x))
