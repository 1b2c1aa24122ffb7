"""Linear operators as matrices, for the laws."""

import pytest
import torch
from torch import nn


def linear_matrix(layer, shape):
    """Return the matrix (in, out) of a linear map from its impulse responses."""
    zero = torch.zeros(1, *shape, dtype=torch.float64)
    x, y = torch.randn(2, 3, *shape, dtype=torch.float64)
    if not torch.allclose(layer(x + y) + layer(zero), layer(x) + layer(y)):
        pytest.skip("neither residual nor linear: its condition is tested beside its formula")
    basis = torch.eye(zero.numel(), dtype=torch.float64).view(-1, *shape)
    return (layer(basis) - layer(zero)).flatten(1).detach()


def grams(weight):
    """Return V Vᵀ of a dense weight; of a kernel, those of its circular convolutions and of its zero-padded one on a small image.

    A zero-padded image of 32 x 32 is a part of the larger torus here, so that a bound for the torus holds for the image.
    """
    if weight.ndim == 2:
        return [weight @ weight.mT]
    return [gram for size in (8, 32 + weight.shape[-1] - 1) for gram in _circular(weight, size)] + [_zero_padded(weight)]


def _circular(kernel, size):
    """Return W*W of the circular convolution, one Hermitian matrix (inner, inner) for each frequency."""
    transfer = torch.fft.fft2(kernel, s=(size, size)).flatten(2).permute(2, 0, 1)
    return transfer @ transfer.mH


def _zero_padded(kernel, size=4):
    """Return WᵀW of the zero-padded convolution on a small image, by applying it to every unit vector."""
    inner, channels = kernel.shape[:2]
    basis = torch.eye(channels * size * size, dtype=kernel.dtype).view(-1, channels, size, size)
    matrix = nn.functional.conv2d(basis, kernel, padding=kernel.shape[-1] // 2).flatten(1).mT
    assert matrix.shape == (inner * size * size, channels * size * size)
    return matrix @ matrix.mT
