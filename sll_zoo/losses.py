"""Losses as modules, to be injected into a task: a new loss is a class here."""

from __future__ import annotations

import math

from torch import Tensor, nn

from sll_zoo.errors import ConfigError
from sll_zoo.functional.loss import offset_cross_entropy


class OffsetCrossEntropy(nn.Module):
    """Cross-entropy after taking ``offset`` off the true logit; see :func:`~sll_zoo.functional.loss.offset_cross_entropy`.

    Args:
        offset: Margin asked for; the default is the paper's.
        temperature: Sharpness, positive; the default is the paper's.

    Raises:
        ConfigError: A temperature that is not positive.
    """

    def __init__(self, offset: float = 3 * math.sqrt(2) / 2, temperature: float = 0.25) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigError(f"temperature={temperature}", "give a positive number; the paper uses 0.25")
        self.offset = offset
        self.temperature = temperature

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of logits (batch, classes) and class indices (batch,)."""
        return offset_cross_entropy(logits, target, self.offset, self.temperature)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"offset={self.offset:.4g}, temperature={self.temperature:.4g}"
