"""Losses as functions of logits and labels."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def offset_cross_entropy(
    logits: Float[Tensor, "batch classes"], target: Int[Tensor, " batch"], offset: float, temperature: float
) -> Float[Tensor, ""]:
    """Return the mean cross-entropy of ``(logits − offset · onehot(target)) / temperature``, times ``temperature``.

    The true class must lead by more than ``offset`` before its loss becomes small: this buys margin, which is radius. The smaller
    the offset, the more clean and the less certified accuracy.

    Args:
        logits: (batch, classes).
        target: Class indices (batch,).
        offset: Margin asked for, in units of the logits.
        temperature: Sharpness; its product with the loss keeps the gradient's scale.

    Source: AOL, Prach and Lampert 2022 (arXiv 2208.03160); Araujo et al. 2023 use offset 3√2/2 and temperature 1/4.
    """
    onehot = F.one_hot(target, logits.shape[1])
    return F.cross_entropy((logits - offset * onehot) / temperature, target) * temperature
