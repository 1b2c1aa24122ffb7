import numpy as np
import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from sll_zoo.errors import ConfigError
from sll_zoo.losses import HingeKantorovichRubinstein
from tests.processes import on_ranks

CLASSES, FEATURES = 4, 6
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(9, FEATURES, generator=GENERATOR, dtype=torch.float64)
# Class 1 is with the first process only, class 2 with the second, and class 3 has no image.
LABELS = torch.tensor([0, 1, 1, 0, 0, 2, 2, 2, 0])
PARTS = (slice(0, 4), slice(4, 9))


def formula(logits, labels, alpha, margin):
    """Return the loss, a class at a time."""
    hinge, transport = [], []
    for c in range(CLASSES):
        own, others = logits[labels == c, c], logits[labels != c, c]
        lags = [*((CLASSES - 1) * np.maximum(margin / 2 - own, 0)), *np.maximum(margin / 2 + others, 0)]
        hinge.append(np.mean(lags))
        transport.append((own.mean() if len(own) else 0) - (others.mean() if len(others) else 0))
    return alpha * np.mean(hinge) - (1 - alpha) * np.mean(transport)


@pytest.mark.parametrize("alpha", [0.0, 0.7, 1.0])
def test_hkr_is_its_formula(alpha):
    logits = IMAGES[:, :CLASSES]
    value = HingeKantorovichRubinstein(alpha, 1.5)(logits, LABELS).item()
    assert value == pytest.approx(formula(logits.numpy(), LABELS.numpy(), alpha, 1.5), rel=1e-12)


def test_a_batch_of_a_single_class_has_a_loss():
    value = HingeKantorovichRubinstein(0.5)(IMAGES[:3, :CLASSES], torch.tensor([2, 2, 2]))
    assert value.item() == pytest.approx(formula(IMAGES[:3, :CLASSES].numpy(), np.array([2, 2, 2]), 0.5, 1.0), rel=1e-12)


@pytest.mark.parametrize("settings", [{"alpha": 1.1}, {"alpha": -0.1}, {"alpha": 0.5, "margin": 0.0}])
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ConfigError):
        HingeKantorovichRubinstein(**settings)


def network():
    torch.manual_seed(3)
    return torch.nn.Linear(FEATURES, CLASSES).double()


def gradients(rank):
    model, loss = DistributedDataParallel(network()), HingeKantorovichRubinstein(0.7)
    part = PARTS[rank]
    value = loss(model(IMAGES[part]), LABELS[part])
    value.backward()
    alone = loss.eval()(model.module(IMAGES[part]), LABELS[part]).item() if rank else None
    return value.item(), [parameter.grad.numpy() for parameter in model.parameters()], alone


@pytest.mark.processes
def test_two_processes_have_the_gradient_of_one_with_the_whole_batch(tmp_path):
    ranks = on_ranks(2, gradients, tmp_path)
    model = network()
    value = HingeKantorovichRubinstein(0.7)(model(IMAGES), LABELS)
    value.backward()
    assert np.mean([mine for mine, _, _ in ranks]) == pytest.approx(value.item(), rel=1e-12)
    for _, found, _ in ranks:
        for actual, parameter in zip(found, model.parameters(), strict=True):
            np.testing.assert_allclose(actual, parameter.grad.numpy(), rtol=0, atol=1e-12)
    # In evaluation no process waits for another.
    mine = HingeKantorovichRubinstein(0.7)(model(IMAGES[PARTS[1]]), LABELS[PARTS[1]])
    assert ranks[1][2] == pytest.approx(mine.item(), rel=1e-12)
