import pytest
import torch
from torch.nn import functional as F

from sll_zoo.functional.convolution import same_conv2d, same_conv2d_adjoint
from sll_zoo.functional.fast import convolutions
from sll_zoo.functional.fast.convolutions import (
    abs_gram_by_products,
    conv2d_adjoint_by_products,
    conv2d_by_products,
    products_are_faster,
)
from sll_zoo.functional.rescaling import abs_gram
from tests import tolerances as tol

SHAPES = [(3, 4, 2, 5, 7, 3), (2, 3, 3, 1, 1, 3), (2, 4, 1, 2, 9, 5), (1, 2, 2, 4, 3, 1), (2, 3, 2, 1, 4, 7), (4, 6, 3, 8, 8, 3)]


@pytest.fixture(params=[0, 10**9], ids=["many pixels", "few pixels"])
def least_pixels(request, monkeypatch):
    monkeypatch.setattr(convolutions, "LEAST_PIXELS", request.param)


@pytest.fixture(params=SHAPES, ids=str)
def given(request, least_pixels):  # noqa: ARG001 - for both ways
    batch, channels, out, height, width, edge = request.param
    generator = torch.Generator().manual_seed(0)
    sizes = (batch, channels, height, width), (out, channels, edge, edge), (out,), (batch, out, height, width)
    return tuple(torch.randn(size, dtype=torch.float64, generator=generator) for size in sizes)


@torch.no_grad()
@pytest.mark.parametrize("part", [1, convolutions.PART])
def test_products_are_the_convolution_and_its_adjoint(given, part, monkeypatch):
    monkeypatch.setattr(convolutions, "PART", part)
    x, kernel, bias, y = given
    padding = kernel.shape[-1] // 2
    for b in (bias, None):
        torch.testing.assert_close(
            conv2d_by_products(x, kernel, b), F.conv2d(x, kernel, b, padding=padding), rtol=0, atol=tol.SAME
        )
    expected = F.conv_transpose2d(y, kernel, padding=padding)
    torch.testing.assert_close(conv2d_adjoint_by_products(y, kernel), expected, rtol=0, atol=tol.SAME)


@torch.no_grad()
def test_the_layout_in_memory_changes_nothing(given):
    x, kernel, bias, _ = given
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(conv2d_by_products(x, kernel, bias), conv2d_by_products(last, kernel, bias))


@torch.no_grad()
def test_the_sums_over_offsets_are_those_of_the_convolution_of_a_kernel_with_itself(given):
    _, kernel, _, _ = given
    expected = F.conv2d(kernel, kernel, padding=kernel.shape[-1] - 1).abs().sum((2, 3))
    torch.testing.assert_close(abs_gram_by_products(kernel), expected, rtol=tol.SAME, atol=0)
    assert torch.equal(abs_gram(kernel), abs_gram_by_products(kernel))


def test_derivatives_by_the_images_are_those_of_the_convolution(given):
    x, kernel, bias, y = given
    x, y = x.requires_grad_(), y.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: conv2d_by_products(x, kernel, bias), x, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda x: conv2d_by_products(x, kernel, bias), x, fast_mode=True)
    assert torch.autograd.gradcheck(lambda y: conv2d_adjoint_by_products(y, kernel), y, fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda y: conv2d_adjoint_by_products(y, kernel), y, fast_mode=True)


def test_they_are_used_in_float64_for_kernels_without_derivatives_only(given):
    x, kernel, bias, y = given
    assert products_are_faster(x, kernel, None)
    assert not products_are_faster(x, kernel.requires_grad_(), None)
    assert not products_are_faster(x, kernel.detach(), bias.clone().requires_grad_())
    with torch.no_grad():
        assert products_are_faster(x, kernel)
        assert not products_are_faster(x.float(), kernel.float())
        assert not products_are_faster(x[:0], kernel)
        assert not products_are_faster(x, torch.cat([kernel] * 9))  # to more channels
        assert torch.equal(same_conv2d(x, kernel, bias, "zeros"), conv2d_by_products(x, kernel, bias))
        assert torch.equal(same_conv2d_adjoint(y, kernel, "zeros"), conv2d_adjoint_by_products(y, kernel))
