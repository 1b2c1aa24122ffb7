"""The base class of losses that use the certificate's constants, and a function that calls any loss."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class CertificateLoss(nn.Module):
    """A loss of logits, labels, the certificate's constants, and how much of the training is done.

    Constants and progress are arguments, and no model is kept: a loss has no state, and one object serves any network.
    """

    def forward(self, logits: Tensor, target: Tensor, pairwise_lipschitz: Tensor, progress: float = 1.0) -> Tensor:
        """Return the mean loss of a batch.

        Args:
            logits: (batch, classes).
            target: Class indices (batch,).
            pairwise_lipschitz: L, (classes, classes): logit i − logit j is Lᵢⱼ-Lipschitz. The gradient goes through it.
            progress: Fraction of the training's steps that are done, from 0 to 1; 1 in validation, to make epochs comparable.
        """
        raise NotImplementedError


def apply_loss(
    loss: nn.Module, logits: Tensor, target: Tensor, pairwise_lipschitz: Callable[[], Tensor], progress: float
) -> Tensor:
    """Return the value of a loss, called with the arguments that it takes.

    Args:
        loss: A loss of logits and labels, or a :class:`CertificateLoss`.
        logits: (batch, classes).
        target: Class indices (batch,).
        pairwise_lipschitz: Computes L, (classes, classes); called only for a loss that takes it.
        progress: As for ``CertificateLoss``.
    """
    more = (pairwise_lipschitz(), progress) if isinstance(loss, CertificateLoss) else ()
    value: Tensor = loss(logits, target, *more)
    return value
