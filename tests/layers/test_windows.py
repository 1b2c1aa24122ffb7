"""Windows and their shift only move pixels, as a roll of the image does, and so do their derivatives."""

import pytest
import torch

from sll_zoo.errors import ConfigError
from sll_zoo.layers import CyclicShift, WindowPartition, WindowReverse


def images():
    return torch.rand(2, 3, 8, 12, dtype=torch.float64)


def in_order(x):
    """Return the numbers of each pixel of a map in order of size."""
    return x.sort(1).values


@pytest.mark.parametrize("edge", [2, 4])
def test_a_window_is_the_pixels_of_a_square_one_after_the_other(edge):
    x = images()
    parted = WindowPartition(edge)(x)
    assert torch.equal(parted[1, :, 1, 0], x[1, :, edge : 2 * edge, :edge].permute(1, 2, 0).flatten())
    assert torch.equal(WindowReverse(edge)(parted), x)


@pytest.mark.parametrize("edge", [2, 4])
def test_shifted_windows_are_those_of_the_image_rolled_by_half_an_edge(edge):
    x = images()
    parted = WindowPartition(edge)(x)
    shifted = CyclicShift(edge)(parted)
    rolled = WindowPartition(edge)(x.roll((-edge // 2, -edge // 2), (2, 3)))
    assert torch.equal(in_order(shifted), in_order(rolled))
    assert torch.equal(CyclicShift(edge, back=True)(shifted), parted)


@pytest.mark.parametrize("back", [False, True])
def test_derivatives_of_each_kind_are_those_of_a_permutation(back):
    shift = CyclicShift(2, back)
    x = torch.rand(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(shift, (x,))
    assert torch.autograd.gradgradcheck(shift, (x,))
    assert torch.equal(torch.func.vmap(shift)(x[None])[0], shift(x))
    assert torch.equal(*(torch.autograd.functional.jacobian(shift, x, vectorize=vectorize) for vectorize in (False, True)))


@pytest.mark.parametrize("edge", [0, 1, 3])
def test_windows_that_have_no_half_are_not_shifted(edge):
    with pytest.raises(ConfigError, match=f"edge={edge}"):
        CyclicShift(edge)


def test_empty_batches_and_the_order_in_memory_are_kept():
    x = torch.rand(2, 8, 4, 4).contiguous(memory_format=torch.channels_last)
    y = CyclicShift(2)(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, CyclicShift(2)(x.contiguous()))
    for layer in (WindowPartition(2), CyclicShift(2), WindowReverse(2)):
        assert len(layer(x[:0])) == 0
