"""Sorting of neighbouring channels, with a backward that is as fast as its forward; the formula is in ``functional.activation``.

PyTorch's backward of a maximum fills masks, and stacking pairs of channels copies images whose channels are last in memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def sorted_pairs(x: Tensor) -> Tensor:
    """Return (batch, channels, ...) with channels 2i and 2i + 1 sorted, the larger first; an odd last channel stays.

    Where both are equal, its derivative leaves them in their order; that of the formula takes the mean of both orders.
    """
    y: Tensor = _SortedPairs.apply(x)
    return y


class _SortedPairs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clone()
        (first, second), (larger, smaller) = _pairs(x), _pairs(y)
        torch.maximum(first, second, out=larger)
        torch.minimum(first, second, out=smaller)
        ctx.save_for_backward(first >= second)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (kept,) = ctx.saved_tensors
        moved: Tensor = _Exchange.apply(grad, kept)
        return moved


class _Exchange(torch.autograd.Function):
    """Exchange the channels of each pair that is not ``kept``: a symmetric permutation, its own derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor) -> Tensor:
        ctx.save_for_backward(kept)
        y = x.clone()
        (first, second), (one, other) = _pairs(x), _pairs(y)
        # Products with 0 and 1 take less time than ``torch.where``; ``out=`` is unknown to gradients of several vectors at once.
        stays = kept.to(x.dtype)
        moves = 1 - stays
        one.copy_(torch.addcmul(first * stays, second, moves))
        other.copy_(torch.addcmul(second * stays, first, moves))
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        moved: Tensor = _Exchange.apply(grad, kept)
        return moved, None


def _pairs(x: Tensor) -> tuple[Tensor, Tensor]:
    last = 2 * (x.shape[1] // 2)
    return x[:, 0:last:2], x[:, 1:last:2]
