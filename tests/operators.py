"""Linear operators as matrices, for the laws."""

import pytest
import torch
from torch import nn


def linear_norm(layer, shape):
    """Return the norm of a linear map from its impulse responses: T ≽ WᵀW says that W T^{-1/2} has norm at most 1."""
    zero = torch.zeros(1, *shape, dtype=torch.float64)
    x, y = torch.randn(2, 3, *shape, dtype=torch.float64)
    if not torch.allclose(layer(x + y) + layer(zero), layer(x) + layer(y)):
        pytest.skip("neither residual nor linear: its condition is tested beside its formula")
    basis = torch.eye(zero.numel(), dtype=torch.float64).view(-1, *shape)
    return torch.linalg.matrix_norm((layer(basis) - layer(zero)).flatten(1), 2).item()


def circular_grams(kernel, size=8):
    """Return W*W of the circular convolution, one Hermitian matrix (inner, inner) for each frequency."""
    transfer = torch.fft.fft2(kernel, s=(size, size)).flatten(2).permute(2, 0, 1)
    return transfer @ transfer.mH


def zero_padded_gram(kernel, size=4):
    """Return WᵀW of the zero-padded convolution on a small image, by applying it to every unit vector."""
    inner, channels = kernel.shape[:2]
    basis = torch.eye(channels * size * size, dtype=kernel.dtype).view(-1, channels, size, size)
    matrix = nn.functional.conv2d(basis, kernel, padding=kernel.shape[-1] // 2).flatten(1).mT
    assert matrix.shape == (inner * size * size, channels * size * size)
    return matrix @ matrix.mT
