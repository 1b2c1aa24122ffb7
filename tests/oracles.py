"""Dense float64 oracles of the layers, in numpy, straight from the paper and sharing no code with the package."""

import itertools

import numpy as np


def dense_matrix(kernel, height, width):
    """Return V of a zero-padded convolution as a matrix (inner·h·w, channels·h·w), one entry at a time."""
    inner, channels, size, _ = kernel.shape
    matrix = np.zeros((inner, height, width, channels, height, width))
    for i, c, a, b in itertools.product(range(inner), range(channels), range(size), range(size)):
        for y, x in itertools.product(range(height), range(width)):
            source = y + a - size // 2, x + b - size // 2
            if 0 <= source[0] < height and 0 <= source[1] < width:
                matrix[i, y, x, c, *source] = kernel[i, c, a, b]
    return matrix.reshape(inner * height * width, -1)


def absolute_row_sums(weight):
    """Return |WᵀW| between units: entries for a dense weight, sums over all shifts for a kernel."""
    if weight.ndim == 2:
        return np.abs(weight @ weight.T)
    inner, _, size, _ = weight.shape
    sums = np.zeros((inner, inner))
    padded = np.pad(weight, ((0, 0), (0, 0), (size - 1, size - 1), (size - 1, size - 1)))
    for i, j in itertools.product(range(inner), repeat=2):
        for dy, dx in itertools.product(range(2 * size - 1), repeat=2):
            sums[i, j] += abs((padded[i, :, dy : dy + size, dx : dx + size] * weight[j]).sum())
    return sums


def sll_t(gram, log_q):
    """Return T of equation 8, one entry at a time."""
    n = len(log_q)
    return np.array([sum(gram[i, j] * np.exp(log_q[j] - log_q[i]) for j in range(n)) for i in range(n)])


def residual(t_of):
    """Return the oracle of a residual layer whose T is ``t_of(gram, log_q)``."""

    def oracle(layer, x):
        weight, bias, log_q = (p.detach().numpy() for p in (layer.weight, layer.bias, layer.log_q))
        t = t_of(absolute_row_sums(weight), log_q)
        positions = 1
        matrix = weight
        if weight.ndim == 4:
            positions = x.shape[2] * x.shape[3]
            matrix = dense_matrix(weight, *x.shape[2:])
        t, bias = np.repeat(t, positions), np.repeat(bias, positions)
        flat = x.reshape(len(x), -1)
        hidden = np.maximum(flat @ matrix.T + bias, 0)
        return (flat - 2 * (hidden / t) @ matrix).reshape(x.shape)

    return oracle


ORACLES = {"sll": residual(sll_t)}
