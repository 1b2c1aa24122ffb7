"""Several losses as one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from sll_zoo.errors import ConfigError
from sll_zoo.losses.base import CertificateLoss, apply_loss


class WeightedSum(CertificateLoss):
    """A weighted sum of losses of any kind.

    Args:
        losses: At least one.
        weights: One number for each loss; by default 1 each.

    Raises:
        ConfigError: No loss, or another number of weights.

    Example:
        >>> from sll_zoo.losses import CertificateRegularization
        >>> WeightedSum([nn.CrossEntropyLoss(), CertificateRegularization()], [1.0, 0.1])
        WeightedSum(
          weights=(1.0, 0.1)
          (losses): ModuleList(
            (0): CrossEntropyLoss()
            (1): CertificateRegularization()
          )
        )
    """

    def __init__(self, losses: Sequence[nn.Module], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        weights = [1.0] * len(losses) if weights is None else weights
        if not losses or len(weights) != len(losses):
            raise ConfigError(
                f"{len(losses)} losses with {len(weights)} weights", "give at least one loss, and a weight for each"
            )
        self.losses = nn.ModuleList(losses)
        self.weights = tuple(weights)

    def forward(self, logits: Tensor, target: Tensor, pairwise_lipschitz: Tensor, progress: float = 1.0) -> Tensor:
        """Return the mean loss of a batch; see :class:`CertificateLoss`."""
        terms = [apply_loss(loss, logits, target, lambda: pairwise_lipschitz, progress) for loss in self.losses]
        return sum((weight * term for weight, term in zip(self.weights, terms, strict=True)), logits.new_zeros(()))

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"weights={self.weights}"
