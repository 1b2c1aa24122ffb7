"""A convolution that keeps the image's size, and its exact adjoint, for zero and circular padding."""

from __future__ import annotations

from typing import Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

PaddingMode = Literal["zeros", "circular"]


def same_conv2d(
    x: Float[Tensor, "batch c h w"],
    kernel: Float[Tensor, "out c k k"],
    bias: Float[Tensor, " out"] | None,
    padding_mode: PaddingMode,
) -> Float[Tensor, "batch out h w"]:
    """Return the cross-correlation of x and an odd kernel, of the same height and width."""
    padding = kernel.shape[-1] // 2
    if padding_mode == "zeros":
        return F.conv2d(x, kernel, bias, padding=padding)
    return F.conv2d(F.pad(x, (padding,) * 4, mode="circular"), kernel, bias)


def same_conv2d_adjoint(
    y: Float[Tensor, "batch out h w"], kernel: Float[Tensor, "out c k k"], padding_mode: PaddingMode
) -> Float[Tensor, "batch c h w"]:
    """Return the adjoint of :func:`same_conv2d`: the same kernel, transposed and turned by half a turn."""
    if padding_mode == "zeros":
        return F.conv_transpose2d(y, kernel, padding=kernel.shape[-1] // 2)
    return same_conv2d(y, kernel.transpose(0, 1).flip(2, 3), None, padding_mode)
