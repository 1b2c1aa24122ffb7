import pytest
import torch
from torch import nn

from sll_zoo.losses import (
    EMMA,
    CertificateRegularization,
    HingeKantorovichRubinstein,
    LogitAnnealing,
    MarginBoosting,
    OffsetCrossEntropy,
    WeightedSum,
)
from sll_zoo.losses.base import apply_loss

LOSSES = [
    OffsetCrossEntropy(),
    LogitAnnealing(),
    MarginBoosting(),
    EMMA(),
    EMMA(loss=LogitAnnealing()),
    CertificateRegularization(),
    HingeKantorovichRubinstein(0.9),
    WeightedSum([nn.MultiMarginLoss(margin=0.7), OffsetCrossEntropy()]),
]
CLASSES = 5
CONSTANTS = torch.full((CLASSES, CLASSES), 2**0.5, dtype=torch.float64).fill_diagonal_(0)
EXTREMES = {
    "large": 1e4 * torch.randn(7, CLASSES).sign(),
    "larger for one": torch.eye(CLASSES)[[0, 1, 2, 3, 4, 0, 1]] * 2e4 - 1e4,
    "all equal": torch.ones(7, CLASSES),
    "tied in two": torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0]).expand(7, CLASSES),
    "one image": torch.randn(1, CLASSES),
}


@pytest.mark.parametrize("logits", EXTREMES.values(), ids=EXTREMES)
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_values_and_gradients_are_finite(loss, logits):
    for target in (torch.zeros(len(logits), dtype=torch.long), torch.arange(len(logits)) % CLASSES):
        x, constants = logits.clone().requires_grad_(), CONSTANTS.clone().requires_grad_()
        value = apply_loss(loss, x, target, lambda constants=constants: constants, 0.3)
        assert value.shape == ()
        assert value.dtype == torch.float32
        value.backward()
        assert value.isfinite()
        assert x.grad.isfinite().all()
        assert constants.grad is None or constants.grad.isfinite().all()


# EMMA leaves its epsilon out of the gradient; see test_certificate.py.
@pytest.mark.parametrize("loss", [loss for loss in LOSSES if not isinstance(loss, EMMA)], ids=repr)
def test_the_gradient_is_that_of_differences(loss):
    logits = torch.randn(4, CLASSES, dtype=torch.float64).requires_grad_()
    target, h = torch.tensor([0, 3, 1, 1]), 1e-6
    direction = torch.randn_like(logits)
    (gradient,) = torch.autograd.grad(apply_loss(loss, logits, target, lambda: CONSTANTS, 1.0), logits)
    ahead, back = (apply_loss(loss, logits + sign * h * direction, target, lambda: CONSTANTS, 1.0) for sign in (1, -1))
    assert ((ahead - back) / (2 * h)).item() == pytest.approx((gradient * direction).sum().item(), rel=1e-6)
