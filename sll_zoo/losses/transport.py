"""The optimal transport loss, which depends on the batch as a whole."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn

from sll_zoo.errors import ConfigError
from sll_zoo.functional.loss import hinge_kantorovich_rubinstein


class HingeKantorovichRubinstein(nn.Module):
    """hKR, α · hinge − (1 − α) · KR; see :func:`~sll_zoo.functional.loss.hinge_kantorovich_rubinstein`.

    KR compares means over classes. In training on several processes, the means are over the batch of all processes together: the
    images of each class are counted over all, and the loss is multiplied by the number of processes, so that DDP's average of the
    gradients is the gradient for the whole batch. In evaluation mode each process takes its own batch alone.

    Args:
        alpha: α, from 0 (KR alone) to 1 (hinge alone).
        margin: In units of the logits; each logit is to be above ``margin``/2 for its class, and below −``margin``/2 for others.

    Raises:
        ConfigError: An ``alpha`` outside [0, 1], or a margin that is not positive.
    """

    def __init__(self, alpha: float, margin: float = 1.0) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise ConfigError(f"alpha={alpha}", "give a number from 0 to 1")
        if not margin > 0:
            raise ConfigError(f"margin={margin}", "give a positive number")
        self.alpha = alpha
        self.margin = margin

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits (batch, classes) and class indices (batch,)."""
        counts = torch.bincount(target, minlength=logits.shape[1])
        processes = 1
        # In validation nothing is gathered: processes may have different numbers of batches and would wait for each other.
        if self.training and distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(counts)
            processes = distributed.get_world_size()
        return processes * hinge_kantorovich_rubinstein(logits, target, counts, self.alpha, self.margin)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"alpha={self.alpha:.4g}, margin={self.margin:.4g}"
