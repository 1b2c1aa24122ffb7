import math

import numpy as np
import pytest
import torch

from sll_zoo.errors import ConfigError
from sll_zoo.losses import LogitAnnealing, MarginBoosting, OffsetCrossEntropy

LOGITS = np.random.default_rng(0).normal(size=(5, 4))
TARGET = np.array([0, 3, 1, 1, 2])


def log_softmax(row):
    return row - math.log(sum(math.exp(value) for value in row))


def offset_log_p(offset, temperature):
    """Return log p of the true class of each image."""
    values = []
    for row, y in zip(LOGITS, TARGET, strict=True):
        shifted = row.copy()
        shifted[y] -= offset
        values.append(log_softmax(shifted / temperature)[y])
    return values


def value(loss):
    return loss(torch.from_numpy(LOGITS), torch.from_numpy(TARGET)).item()


def test_offset_cross_entropy_is_its_formula():
    expected = -0.25 * np.mean(offset_log_p(0.7, 0.25))
    assert value(OffsetCrossEntropy(0.7, 0.25)) == pytest.approx(expected, rel=1e-12)


def test_logit_annealing_is_its_formula():
    terms = [-0.75 * (1 - math.exp(log_p)) ** 5 * log_p for log_p in offset_log_p(2.0, 0.75)]
    assert value(LogitAnnealing()) == pytest.approx(np.mean(terms), rel=1e-12)


def test_margin_boosting_is_its_formula():
    own = [-log_softmax(row)[y] for row, y in zip(LOGITS, TARGET, strict=True)]
    others = [-log_softmax(-row)[j] for row, y in zip(LOGITS, TARGET, strict=True) for j in range(4) if j != y]
    assert value(MarginBoosting(0.5)) == pytest.approx(np.mean(own) + 0.5 * np.mean(others), rel=1e-12)


def test_annealing_fades_where_the_margin_is_reached_and_offset_cross_entropy_less():
    logits = torch.tensor([[3.5, 0.0]], dtype=torch.float64, requires_grad=True)
    pulls = []
    for loss in (OffsetCrossEntropy(2.0, 0.75), LogitAnnealing(2.0, 0.75)):
        (gradient,) = torch.autograd.grad(loss(logits, torch.tensor([0])), logits)
        pulls.append(-gradient[0, 0].item())
    assert 0 < pulls[1] < pulls[0] / 100


def test_defaults_are_the_papers():
    loss = OffsetCrossEntropy()
    assert loss.offset == pytest.approx(2.1213, abs=1e-4)
    assert loss.temperature == 0.25


@pytest.mark.parametrize("temperature", [0, -1, float("nan")])
@pytest.mark.parametrize("loss", [OffsetCrossEntropy, LogitAnnealing])
def test_a_temperature_that_is_not_positive_is_refused(loss, temperature):
    with pytest.raises(ConfigError, match=f"temperature={temperature}"):
        loss(temperature=temperature)


def test_an_annealing_with_infinite_gradients_is_refused():
    with pytest.raises(ConfigError, match=r"beta=0\.5"):
        LogitAnnealing(beta=0.5)
