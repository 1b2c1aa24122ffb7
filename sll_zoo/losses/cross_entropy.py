"""Cross-entropies that ask for a margin."""

from __future__ import annotations

import math

from torch import Tensor, nn

from sll_zoo.errors import ConfigError
from sll_zoo.functional.loss import logit_annealing, margin_boosting, offset_cross_entropy


class OffsetCrossEntropy(nn.Module):
    """Cross-entropy after taking ``offset`` off the true logit; see :func:`~sll_zoo.functional.loss.offset_cross_entropy`.

    With ``offset=0`` it is cross-entropy at a temperature, which 1-Lipschitz networks need: their logits are close together.

    Args:
        offset: Margin asked for, in units of the logits; the default is the paper's.
        temperature: Divisor of the logits, positive, in the same units; the default is the paper's.

    Raises:
        ConfigError: A temperature that is not positive.
    """

    def __init__(self, offset: float = 3 * math.sqrt(2) / 2, temperature: float = 0.25) -> None:
        super().__init__()
        _require_positive(temperature)
        self.offset = offset
        self.temperature = temperature

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of logits (batch, classes) and class indices (batch,)."""
        return offset_cross_entropy(logits, target, self.offset, self.temperature)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"offset={self.offset:.4g}, temperature={self.temperature:.4g}"


class LogitAnnealing(nn.Module):
    """Offset cross-entropy that fades as an image reaches its margin; see :func:`~sll_zoo.functional.loss.logit_annealing`.

    The defaults are those of BRONet, which applies it to the logits of EMMA: ``EMMA(loss=LogitAnnealing())``.

    Args:
        offset: Margin asked for, in units of the logits.
        temperature: T, positive, in the same units.
        beta: β, how fast it fades: at least 1, below which the gradient is infinite at p = 1.

    Raises:
        ConfigError: A temperature that is not positive, or a ``beta`` below 1.
    """

    def __init__(self, offset: float = 2.0, temperature: float = 0.75, beta: float = 5.0) -> None:
        super().__init__()
        _require_positive(temperature)
        if not beta >= 1:
            raise ConfigError(f"beta={beta}", "give a number of at least 1; without annealing, take OffsetCrossEntropy")
        self.offset = offset
        self.temperature = temperature
        self.beta = beta

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of logits (batch, classes) and class indices (batch,)."""
        return logit_annealing(logits, target, self.offset, self.temperature, self.beta)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"offset={self.offset:.4g}, temperature={self.temperature:.4g}, beta={self.beta:.4g}"


class MarginBoosting(nn.Module):
    """Cross-entropy plus a term that pushes down all wrong logits; see :func:`~sll_zoo.functional.loss.margin_boosting`.

    Args:
        weight: Weight of the second term. Its authors use 1, the code of SLL 1 / number of classes.
    """

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of logits (batch, classes) and class indices (batch,)."""
        return margin_boosting(logits, target, self.weight)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"weight={self.weight:.4g}"


def _require_positive(temperature: float) -> None:
    if not temperature > 0:
        raise ConfigError(f"temperature={temperature}", "give a positive number; the paper uses 0.25")
