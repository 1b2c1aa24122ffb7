"""Layers without parameters that change position or shape: each is 1-Lipschitz."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sll_zoo.errors import ConfigError


class Center(nn.Module):
    """x ↦ x − mean of each channel: an isometry.

    The mean belongs to the model, so that images stay in [0, 1] and a radius is in pixels. There is no division by a standard
    deviation, which would change the Lipschitz constant.

    Args:
        mean: One value for each channel.

    Example:
        >>> import torch
        >>> Center([0.5])(torch.tensor([[[[0.5, 1.0]]]])).tolist()
        [[[[0.0, 0.5]]]]
    """

    mean: Tensor

    def __init__(self, mean: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.get_default_dtype()).view(-1, 1, 1))

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        """Subtract the mean."""
        return x - self.mean


class PadChannels(nn.Module):
    """Append channels of zeros, from ``in_channels`` to ``out_channels``: an isometry.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output, not fewer.

    Raises:
        ConfigError: Fewer channels than there are.

    Example:
        >>> import torch
        >>> PadChannels(3, 8)(torch.zeros(2, 3, 4, 4)).shape
        torch.Size([2, 8, 4, 4])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ConfigError(f"padding {in_channels} channels to {out_channels}", "give at least as many as there are")
        self.extra = out_channels - in_channels

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch padded h w"]:
        """Pad on the channel axis."""
        return F.pad(x, (0, 0, 0, 0, 0, self.extra))

    def extra_repr(self) -> str:
        """Return the number of added channels."""
        return f"extra={self.extra}"


class TruncateChannels(nn.Module):
    """Keep the first ``channels`` channels: a projection.

    Args:
        channels: How many to keep.

    Example:
        >>> import torch
        >>> TruncateChannels(3)(torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 3, 4, 4])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch kept h w"]:
        """Truncate on the channel axis."""
        return x[:, : self.channels]

    def extra_repr(self) -> str:
        """Return the number of channels kept."""
        return str(self.channels)


class PixelUnshuffle(nn.PixelUnshuffle):
    """Turn the pixels of each k × k square into channels of one pixel: an isometry.

    Unlike PyTorch's own, it changes the shape of an empty batch, too.

    Args:
        downscale_factor: k; height and width must be multiples of it.

    Example:
        >>> import torch
        >>> PixelUnshuffle(2)(torch.zeros(0, 3, 8, 8)).shape
        torch.Size([0, 12, 4, 4])
    """

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch more low narrow"]:
        """Move the pixels."""
        squares = (-1, self.downscale_factor)
        x = torch.unflatten(torch.unflatten(x, -1, squares), -3, squares)
        return x.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)


class NormOneAvgPool2d(nn.AvgPool2d):
    """Sum of each k × k window divided by k: of norm exactly 1, where the mean would be of norm 1/k.

    The windows do not overlap, and a sum of k² entries has norm k.

    Args:
        kernel_size: k; height and width must be multiples of it.

    Example:
        >>> import torch
        >>> NormOneAvgPool2d(2)(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).tolist()
        [[[[5.0]]]]
    """

    def __init__(self, kernel_size: int) -> None:
        super().__init__(kernel_size, divisor_override=kernel_size)

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels low narrow"]:
        """Pool by sums, whose backward needs neither the images nor the copies of them that PyTorch's pooling makes."""
        x, windows = x.movedim(-3, -1), (-1, cast("int", self.kernel_size))
        x = torch.unflatten(torch.unflatten(x, -2, windows).sum(-2), -3, windows).sum(-3)
        return x.div(cast("int", self.divisor_override)).movedim(-1, -3).contiguous()
