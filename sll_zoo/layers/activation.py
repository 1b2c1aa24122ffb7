"""Activations to put between layers: 1-Lipschitz, and isometries at each point."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.functional.activation import householder, max_min


class MaxMin(nn.Module):
    """Sort neighbouring channels, the larger first; see :func:`~sll_zoo.functional.activation.max_min`.

    Example:
        >>> import torch
        >>> MaxMin()(torch.tensor([[1.0, 2.0, 3.0]])).tolist()
        [[2.0, 1.0, 3.0]]
    """

    def forward(self, x: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "batch channels *space"]:
        """Apply the activation."""
        return max_min(x)


class Householder(nn.Module):
    """Reflect pairs of channels across a learned line; see :func:`~sll_zoo.functional.activation.householder`. Starts as MaxMin.

    Args:
        channels: Channels of the input.

    Example:
        >>> import torch
        >>> Householder(2)(torch.tensor([[1.0, 2.0]])).tolist()
        [[2.0, 1.0]]
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.angle = nn.Parameter(torch.full((channels // 2,), math.pi / 2))

    def forward(self, x: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "batch channels *space"]:
        """Apply the activation."""
        return householder(x, self.angle)


class Absolute(nn.Module):
    """|x|, one coordinate at a time.

    Example:
        >>> import torch
        >>> Absolute()(torch.tensor([[-1.0, 2.0]])).tolist()
        [[1.0, 2.0]]
    """

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """Apply the activation."""
        return x.abs()
