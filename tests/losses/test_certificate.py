import numpy as np
import pytest
import torch
from torch import nn

import sll_zoo
from sll_zoo.errors import ConfigError
from sll_zoo.functional.certificate import certified_radius
from sll_zoo.losses import EMMA, CertificateRegularization, LogitAnnealing, WeightedSum
from sll_zoo.losses.base import apply_loss

GENERATOR = np.random.default_rng(1)
LOGITS = GENERATOR.normal(size=(6, 4))
TARGET = np.array([0, 3, 1, *LOGITS[3:].argmax(1)])  # the latter are classified correctly
ROWS = GENERATOR.normal(size=(4, 3))
CONSTANTS = np.linalg.norm(ROWS[:, None] - ROWS, axis=2)
BATCH = [torch.from_numpy(array) for array in (LOGITS, TARGET, CONSTANTS)]


def cross_entropy(logits, y):
    return np.log(np.exp(logits).sum()) - logits[y]


def worst_logits(eps):
    """Return EMMA's logits, an entry at a time."""
    worst = np.zeros_like(LOGITS)
    for i, y in enumerate(TARGET):
        for j in range(4):
            if j != y:
                margin, constant = LOGITS[i, y] - LOGITS[i, j], CONSTANTS[y, j]
                worst[i, j] = min(max(margin / constant, 0.01 * eps), eps) * constant - margin
    return worst


@pytest.mark.parametrize(("progress", "eps"), [(0.0, 0.1), (0.25, 0.3), (0.5, 0.5), (0.8, 0.5), (1.0, 0.5)])
def test_emma_is_its_formula_with_an_epsilon_that_grows(progress, eps):
    expected = np.mean([cross_entropy(row, y) for row, y in zip(worst_logits(eps), TARGET, strict=True)])
    assert EMMA(eps=0.5, eps_start=0.1)(*BATCH, progress).item() == pytest.approx(expected, rel=1e-12)


def test_emma_takes_the_epsilon_for_a_constant_and_differentiates_the_constants():
    logits, target, constants = BATCH
    logits, constants = logits.clone().requires_grad_(), constants.clone().requires_grad_()
    EMMA(eps=0.5)(logits, target, constants).backward()
    worst = torch.from_numpy(worst_logits(0.5))
    pull = (worst.softmax(1) - nn.functional.one_hot(target, 4)) / len(target)
    torch.testing.assert_close(logits.grad, pull, rtol=1e-12, atol=1e-15)
    assert (constants.grad[0, 1:] > 0).all()


def test_emma_is_a_transform_of_the_logits_for_any_loss():
    worst = torch.from_numpy(worst_logits(108 / 255))
    torch.testing.assert_close(EMMA(loss=LogitAnnealing())(*BATCH), LogitAnnealing()(worst, BATCH[1]), rtol=1e-12, atol=0)


def test_certificate_regularization_is_minus_the_mean_radius_of_what_is_right():
    prediction, radius = certified_radius(BATCH[0], BATCH[2])
    expected = -(radius * (prediction == BATCH[1])).mean()
    assert expected < 0
    torch.testing.assert_close(CertificateRegularization()(*BATCH), expected, rtol=1e-12, atol=0)


def test_a_weighted_sum_gives_each_loss_what_it_takes():
    terms = [nn.MultiMarginLoss(margin=0.7), EMMA(eps_start=0.1), CertificateRegularization()]
    logits, target, constants = BATCH
    expected = sum(
        w * apply_loss(loss, logits, target, lambda: constants, 0.2) for w, loss in zip((1.0, 0.5, 2.0), terms, strict=True)
    )
    torch.testing.assert_close(WeightedSum(terms, [1.0, 0.5, 2.0])(*BATCH, 0.2), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(WeightedSum([nn.CrossEntropyLoss()])(*BATCH), nn.functional.cross_entropy(*BATCH[:2]))


def test_the_gradient_reaches_the_network_through_its_constants():
    model = sll_zoo.create_model("sll_nano.digits")
    target = torch.tensor([0, 1])
    model.zero_grad()
    EMMA()(model(torch.rand(2, 1, 8, 8)).detach(), target, model.pairwise_lipschitz()).backward()
    assert model.head.weight.grad.abs().sum() > 0
    assert model.head.weight.grad.isfinite().all()


def test_equal_rows_of_the_head_give_finite_gradients():
    head = sll_zoo.create_model("sll_nano.digits").head
    with torch.no_grad():
        head.weight.copy_(head.weight[:1].expand_as(head.weight))
    for loss in (EMMA(), CertificateRegularization()):
        logits = torch.zeros(3, 10, requires_grad=True)
        loss(logits, torch.tensor([0, 1, 2]), head.pairwise_lipschitz()).backward()
        assert logits.grad.isfinite().all()
        assert head.weight.grad.isfinite().all()


@pytest.mark.parametrize("settings", [{"eps": -1.0}, {"eps": 0.1, "eps_start": 0.2}, {"eps": float("inf")}, {"ramp": 1.5}])
def test_radii_and_ramps_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError):
        EMMA(**settings)


def test_weights_must_fit_the_losses():
    with pytest.raises(ConfigError, match=r"1 .* 2 "):
        WeightedSum([nn.CrossEntropyLoss()], [1.0, 2.0])
    with pytest.raises(ConfigError, match=r"0 .* 0 "):
        WeightedSum([])
