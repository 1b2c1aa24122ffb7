"""Losses on the certificate itself: they compare margins with the Lipschitz constants of the logit differences."""

from __future__ import annotations

from torch import Tensor, nn

from sll_zoo.errors import ConfigError
from sll_zoo.functional.loss import certificate_regularization, emma_logits
from sll_zoo.losses.base import CertificateLoss, apply_loss


class EMMA(CertificateLoss):
    """Efficient margin maximisation: a loss on the worst logits within ε; see :func:`~sll_zoo.functional.loss.emma_logits`.

    ε grows linearly from ``eps_start`` to ``eps`` over the first part of the training.

    Args:
        eps: Largest radius asked for, in the network's norm and pixels of [0, 1]; the default is its authors' for L2, three times
            36/255.
        eps_start: ε at the start of the training; the default is its authors', a tenth of 36/255.
        ramp: Fraction of the training's steps over which ε grows; the default is its authors', one half.
        loss: Loss that is applied to the worst logits; by default cross-entropy.

    Raises:
        ConfigError: Radii that are not 0 ≤ ``eps_start`` ≤ ``eps``, or a ``ramp`` outside [0, 1].
    """

    def __init__(
        self, eps: float = 108 / 255, eps_start: float = 3.6 / 255, ramp: float = 0.5, loss: nn.Module | None = None
    ) -> None:
        super().__init__()
        if not 0 <= eps_start <= eps < float("inf"):
            raise ConfigError(f"eps_start={eps_start}, eps={eps}", "give finite radii with 0 <= eps_start <= eps")
        if not 0 <= ramp <= 1:
            raise ConfigError(f"ramp={ramp}", "give a fraction of the training, from 0 to 1")
        self.eps = eps
        self.eps_start = eps_start
        self.ramp = ramp
        self.loss = nn.CrossEntropyLoss() if loss is None else loss

    def eps_at(self, progress: float) -> float:
        """Return ε when this fraction of the training is done.

        Example:
            >>> EMMA(eps=1.0, eps_start=0.0).eps_at(0.25)
            0.5
        """
        grown = min(1.0, progress / self.ramp) if self.ramp else 1.0
        return self.eps_start + grown * (self.eps - self.eps_start)

    def forward(self, logits: Tensor, target: Tensor, pairwise_lipschitz: Tensor, progress: float = 1.0) -> Tensor:
        """Return the mean loss of a batch; see :class:`CertificateLoss`."""
        worst = emma_logits(logits, target, pairwise_lipschitz, self.eps_at(progress))
        return apply_loss(self.loss, worst, target, lambda: pairwise_lipschitz, progress)

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"eps={self.eps:.4g}, eps_start={self.eps_start:.4g}, ramp={self.ramp:.4g}"


class CertificateRegularization(CertificateLoss):
    """Minus the mean certified radius; see :func:`~sll_zoo.functional.loss.certificate_regularization`.

    It has no gradient where the prediction is wrong, so it is used as a term of a :class:`~sll_zoo.losses.WeightedSum` beside
    another loss; its authors call its weight γ. Its unit is that of radii, pixels of [0, 1].
    """

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        pairwise_lipschitz: Tensor,
        progress: float = 1.0,  # noqa: ARG002 - the signature of all CertificateLosses
    ) -> Tensor:
        """Return the mean loss of a batch; see :class:`CertificateLoss`."""
        return certificate_regularization(logits, target, pairwise_lipschitz)
