"""A convolution that keeps the image's size, its exact adjoint, and its operator in the frequency domain."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Inexact
from torch import Tensor
from torch.nn import functional as F

from sll_zoo.functional.fast.convolutions import conv2d_adjoint_by_products, conv2d_by_products, products_are_faster

PaddingMode = Literal["zeros", "circular"]


def same_conv2d(
    x: Float[Tensor, "batch c h w"],
    kernel: Float[Tensor, "out c k k"],
    bias: Float[Tensor, " out"] | None,
    padding_mode: PaddingMode,
) -> Float[Tensor, "batch out h w"]:
    """Return the cross-correlation of x and an odd kernel, of the same height and width."""
    padding = kernel.shape[-1] // 2
    if padding_mode == "zeros" and products_are_faster(x, kernel, bias):
        return conv2d_by_products(x, kernel, bias)
    if padding_mode == "zeros":
        return F.conv2d(x, kernel, bias, padding=padding)
    return F.conv2d(F.pad(x, (padding,) * 4, mode="circular"), kernel, bias)


def same_conv2d_adjoint(
    y: Float[Tensor, "batch out h w"], kernel: Float[Tensor, "out c k k"], padding_mode: PaddingMode
) -> Float[Tensor, "batch c h w"]:
    """Return the adjoint of :func:`same_conv2d`: the same kernel, transposed and turned by half a turn."""
    if padding_mode == "zeros" and products_are_faster(y, kernel):
        return conv2d_adjoint_by_products(y, kernel)
    if padding_mode == "zeros":
        return F.conv_transpose2d(y, kernel, padding=kernel.shape[-1] // 2)
    return same_conv2d(y, kernel.transpose(0, 1).flip(2, 3), None, padding_mode)


def torus(kernel: Tensor, x: Tensor, padding_mode: str) -> tuple[int, int]:
    """Return the image size (height, width) at which the circular convolution bounds the one of images like ``x``.

    A zero-padded convolution is a compression of the circular one on images larger by k − 1. A kernel of one pixel has the same
    matrix at every frequency, so that an image of one pixel, with a single frequency, is enough.
    """
    if kernel.shape[-1] == 1:
        return 1, 1
    extra = kernel.shape[-1] - 1 if padding_mode == "zeros" else 0
    return x.shape[2] + extra, x.shape[3] + extra


def frequencies(kernel: Float[Tensor, "out c k k"], size: tuple[int, int]) -> Inexact[Tensor, "h half_w out c"]:
    """Return the circular convolution of a real kernel with images of ``size`` as one matrix for each frequency.

    Args:
        kernel: (out, in, k, k), odd, with the middle on the pixel of the output; k may exceed the size of the images.
        size: (height, width) of the images.

    Returns:
        (height, width // 2 + 1, out, in), complex, in the order of ``torch.fft.rfft2``. The matrices at the other frequencies are
        conjugates of these.
    """
    out, channels, edge, _ = kernel.shape
    offsets = torch.arange(edge, device=kernel.device) - edge // 2
    turns = (torch.outer(torch.arange(n, device=kernel.device), offsets) % n for n in size)
    angles = (-2 * math.pi * turn.to(kernel) / n for turn, n in zip(turns, size, strict=True))
    rows, columns = (torch.complex(angle.cos(), angle.sin()) for angle in angles)
    # A product with the few taps: a transform of the kernel in the size of the images would take longer.
    phases = (rows[:, None, :, None] * columns[: size[1] // 2 + 1, None, :]).flatten(2)
    taps = kernel.permute(2, 3, 0, 1).reshape(edge**2, -1)
    return torch.unflatten(phases @ taps.to(phases), 2, (out, channels))
