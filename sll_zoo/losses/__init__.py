"""Losses as modules of (logits, target), to be injected into a task. A new loss is a class here.

Any ``torch.nn.Module`` of logits and class indices that returns the mean of a batch is a loss: ``torch.nn.MultiMarginLoss``, with
which the authors of CPL train (at margin 0.7), needs no class of ours. Those that need the certificate's constants derive from
:class:`CertificateLoss`, and the task hands them over.

Units: every logit is 1-Lipschitz in the network's norm, L2 or L∞, in pixels of [0, 1]. Offsets, temperatures and margins are in
the same unit, and a margin m between two logits proves a radius of m / L, where L ≤ 2 is the constant of their difference.
"""

from sll_zoo.losses.base import CertificateLoss
from sll_zoo.losses.certificate import EMMA, CertificateRegularization
from sll_zoo.losses.cross_entropy import LogitAnnealing, MarginBoosting, OffsetCrossEntropy
from sll_zoo.losses.transport import HingeKantorovichRubinstein
from sll_zoo.losses.weighted_sum import WeightedSum

__all__ = [
    "EMMA",
    "CertificateLoss",
    "CertificateRegularization",
    "HingeKantorovichRubinstein",
    "LogitAnnealing",
    "MarginBoosting",
    "OffsetCrossEntropy",
    "WeightedSum",
]
