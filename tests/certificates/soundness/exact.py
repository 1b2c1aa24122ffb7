"""The networks of the package in exact rational arithmetic, from the stored numbers, to measure rounding against."""

from fractions import Fraction
from itertools import product

import numpy as np
from torch import nn

from sll_zoo.layers import (
    Center,
    CyclicShift,
    FoldedLinearForm,
    FoldedResidual,
    MaxMin,
    MeanShift,
    NormOneAvgPool2d,
    PadChannels,
    PixelUnshuffle,
    Recurrent,
    SortHead,
    SortLinear,
    TruncateChannels,
    WindowPartition,
    WindowReverse,
)


def rational(tensor):
    """Return an array of the tensor's numbers as fractions."""
    values = tensor.detach().double().numpy()
    return np.array([Fraction(value) for value in values.ravel().tolist()], dtype=object).reshape(values.shape)


def convolve(x, kernel, circular):
    """Return the cross-correlation of (c, h, w) and (out, c, k, k), of the same size."""
    (out, _, k, _), (_, h, w) = kernel.shape, x.shape
    y = np.full((out, h, w), Fraction(0), dtype=object)
    for (i, j), (a, b) in product(np.ndindex(h, w), np.ndindex(k, k)):
        row, column = i + a - k // 2, j + b - k // 2
        if circular:
            row, column = row % h, column % w
        if 0 <= row < h and 0 <= column < w:
            y[:, i, j] += kernel[:, :, a, b] @ x[:, row, column]
    return y


def apply(weight, x, circular):
    return weight @ x if weight.ndim == 2 else convolve(x, weight, circular)


def along(values, x):
    return values.reshape(-1, *(1,) * (x.ndim - 1))


def residual(layer, x):
    weight, circular = rational(layer.weight), layer.padding_mode == "circular"
    z = apply(weight, x, circular) + along(rational(layer.bias), x)
    y = np.maximum(z, 0) * along(rational(layer.step), x)
    back = weight.swapaxes(0, 1)
    return x - apply(back if back.ndim == 2 else back[:, :, ::-1, ::-1], y, circular)


def linear(layer, x):
    y = apply(rational(layer.weight), x, layer.padding_mode == "circular")
    return y if layer.bias is None else y + along(rational(layer.bias), x)


def max_min(_, x):
    y, pairs = x.copy(), 2 * (len(x) // 2)
    y[0:pairs:2], y[1:pairs:2] = np.maximum(x[0:pairs:2], x[1:pairs:2]), np.minimum(x[0:pairs:2], x[1:pairs:2])
    return y


def windows(x, k):
    """Return (c, h / k, k, w / k, k)."""
    c, h, w = x.shape
    return x.reshape(c, h // k, k, w // k, k)


def unshuffle(layer, x):
    k = layer.downscale_factor
    return windows(x, k).transpose(0, 2, 4, 1, 3).reshape(-1, x.shape[1] // k, x.shape[2] // k)


def partition(layer, x):
    return windows(x, layer.edge).transpose(2, 4, 0, 1, 3).reshape(-1, *(size // layer.edge for size in x.shape[1:]))


def reverse(layer, x):
    k, (_, h, w) = layer.edge, x.shape
    return x.reshape(k, k, -1, h, w).transpose(2, 3, 0, 4, 1).reshape(-1, k * h, k * w)


def shift(layer, x):
    k, sign = layer.edge, 1 if layer.back else -1
    moved = x.reshape(k, k, -1, *x.shape[1:]).copy()
    for row in range(k):
        for column in range(k):
            moved[row, column] = np.roll(moved[row, column], (sign * (row < k // 2), sign * (column < k // 2)), (1, 2))
    return moved.reshape(x.shape)


def recurrent(layer, x):
    state = np.full(layer.state, Fraction(0), dtype=object)
    for step in range(x.shape[1]):
        both = np.concatenate([state, x[:, step].ravel()])
        for part in layer.cell:
            both = forward(part, both)
        state = both[len(both) - layer.state :]
    return state


def sorted_distances(layer, x):
    weights = rational(layer.order_weights())
    y = [(weights * sorted(abs(x + row), reverse=True)[: len(weights)]).sum() for row in rational(layer.weight)]
    return np.array(y, dtype=object) * (-1 if isinstance(layer, SortHead) else 1)


FORMULAS = {
    FoldedResidual: residual,
    FoldedLinearForm: linear,
    MaxMin: max_min,
    NormOneAvgPool2d: lambda layer, x: windows(x, layer.kernel_size).sum((2, 4)) / layer.kernel_size,
    Center: lambda layer, x: x - rational(layer.mean),
    PadChannels: lambda layer, x: np.concatenate([x, np.full((layer.extra, *x.shape[1:]), Fraction(0), dtype=object)]),
    TruncateChannels: lambda layer, x: x[: layer.channels],
    nn.Identity: lambda _, x: x,
    PixelUnshuffle: unshuffle,
    WindowPartition: partition,
    CyclicShift: shift,
    WindowReverse: reverse,
    Recurrent: recurrent,
    nn.Flatten: lambda _, x: x.reshape(-1),
    SortLinear: sorted_distances,
    SortHead: sorted_distances,
    MeanShift: lambda layer, x: x - rational(layer.mean),
    nn.AdaptiveMaxPool2d: lambda _, x: x.max((1, 2)).reshape(-1, 1, 1),
}


def forward(layer, x):
    """Return the exact output of a layer for one input."""
    return FORMULAS[type(layer)](layer, x)


def chain(layers, image):
    """Return the exact output of a chain of layers for one image."""
    x = rational(image)
    for layer in layers:
        if getattr(layer, "weight", np.empty(0)).ndim == 2:
            x = x.reshape(-1)
        x = forward(layer, x)
    return x.reshape(-1)


def distance(computed, exact, norm="2"):
    """Return the distance of a tensor from exact numbers, to float64."""
    apart = [float(a - b) for a, b in zip(rational(computed).ravel(), exact.ravel(), strict=True)]
    return float(np.linalg.norm(apart, float(norm)))
