"""Windows of pixels that layers take as one pixel, and their shift: isometries that move numbers.

A layer with a kernel of one pixel behind them is a dense layer on each window: its T can be equal to WᵀW, while a larger kernel
overlaps itself. Windows that are shifted from layer to layer let all of the image meet.

Source: Swin transformers, Liu et al. 2021 (arXiv 2103.14030), whose windows are shifted cyclically, too.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.errors import ConfigError
from sll_zoo.functional.fast.products import derivatives_are_taken_in_reverse


class WindowPartition(nn.Module):
    """Turn the pixels of each k × k window into channels of one pixel, pixel by pixel: an isometry.

    It maps (batch, channels, h, w) to (batch, k² · channels, h / k, w / k), as :class:`~sll_zoo.layers.PixelUnshuffle` does in
    another order of channels, in which those of a pixel do not stay together in memory.

    Args:
        edge: k; height and width must be multiples of it.

    Example:
        >>> import torch
        >>> WindowPartition(2)(torch.arange(8.0).view(1, 2, 2, 2)).flatten().tolist()
        [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0]
    """

    def __init__(self, edge: int) -> None:
        super().__init__()
        self.edge = edge

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch more low narrow"]:
        """Move the pixels."""
        x = torch.unflatten(torch.unflatten(x, 3, (-1, self.edge)), 2, (-1, self.edge))  # (batch, channels, h, row, w, column)
        return x.permute(0, 2, 4, 3, 5, 1).flatten(3).movedim(3, 1)

    def extra_repr(self) -> str:
        """Return the edge, for ``print(model)``."""
        return str(self.edge)


class WindowReverse(nn.Module):
    """Turn each pixel back into a window: the inverse of :class:`WindowPartition`.

    It maps (batch, k² · channels, h, w) to (batch, channels, k · h, k · w).

    Args:
        edge: k.

    Example:
        >>> import torch
        >>> x = torch.rand(2, 3, 8, 4)
        >>> torch.equal(WindowReverse(4)(WindowPartition(4)(x)), x)
        True
    """

    def __init__(self, edge: int) -> None:
        super().__init__()
        self.edge = edge

    def forward(self, x: Float[Tensor, "batch more low narrow"]) -> Float[Tensor, "batch channels h w"]:
        """Move the pixels."""
        x = torch.unflatten(x, 1, (self.edge, self.edge, -1))  # (batch, row, column, channels, h, w)
        return x.permute(0, 4, 1, 5, 2, 3).flatten(3, 4).flatten(1, 2).movedim(3, 1)

    def extra_repr(self) -> str:
        """Return the edge, for ``print(model)``."""
        return str(self.edge)


class CyclicShift(nn.Module):
    """Move windows by half an edge down and to the right, those at the end to the beginning: an isometry.

    The channels of :class:`WindowPartition` stay in their places; those of the first half of a window's rows or columns move by
    one window.

    Args:
        edge: k, the edge of a window, even.
        back: Whether to undo the shift instead.

    Raises:
        ConfigError: An odd edge.

    Example:
        >>> import torch
        >>> line = WindowPartition(2)(torch.arange(8.0).expand(1, 1, 2, 8))
        >>> CyclicShift(2)(line)[0, :2, 0].tolist()
        [[2.0, 4.0, 6.0, 0.0], [1.0, 3.0, 5.0, 7.0]]
    """

    def __init__(self, edge: int, back: bool = False) -> None:
        super().__init__()
        if edge < 2 or edge % 2:
            raise ConfigError(f"edge={edge}", "give an even number: windows are shifted by half of it")
        self.edge = edge
        self.back = back

    def forward(self, x: Float[Tensor, "batch more h w"]) -> Float[Tensor, "batch more h w"]:
        """Move the pixels."""
        height, width = x.shape[2:]
        places, origins = self._places(height, width, x.device)
        if self.back:
            places, origins = origins, places
        rows = torch.unflatten(x.movedim(1, 3), 3, (self.edge**2, -1)).flatten(1, 3)  # (batch, pixels, channels)
        moved = _move(rows, places, origins) if derivatives_are_taken_in_reverse(rows) else rows[:, places]
        return torch.unflatten(moved, 1, (height, width, -1)).flatten(3).movedim(3, 1)

    def extra_repr(self) -> str:
        """Return the settings, for ``print(model)``."""
        return f"{self.edge}, back={self.back}"

    def _places(self, height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return which pixel each one becomes, and the inverse of this permutation."""
        edge, half = self.edge, self.edge // 2
        pixels = torch.arange(height * width * edge**2, device=device).view(height, width, edge, edge)
        pixels = torch.cat([pixels[:, :, :half].roll(-1, 0), pixels[:, :, half:]], 2)
        pixels = torch.cat([pixels[..., :half].roll(-1, 1), pixels[..., half:]], 3)
        places = pixels.flatten()
        return places, places.argsort()


def _move(rows: Tensor, places: Tensor, origins: Tensor) -> Tensor:
    moved: Tensor = _Permutation.apply(rows, places, origins)
    return moved


class _Permutation(torch.autograd.Function):
    """``rows[:, places]``, whose backward is a permutation, too; that of an index adds up, which takes ten times as long."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, places: Tensor, origins: Tensor) -> Tensor:
        ctx.save_for_backward(places, origins)
        return rows.index_select(1, places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        places, origins = ctx.saved_tensors
        return _move(grad, origins, places), None, None
