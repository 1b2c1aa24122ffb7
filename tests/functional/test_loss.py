import numpy as np
import pytest
import torch

from sll_zoo.errors import ConfigError
from sll_zoo.losses import OffsetCrossEntropy


def test_offset_cross_entropy_equals_the_formula_in_numpy():
    logits, target = np.random.default_rng(0).normal(size=(5, 4)), np.array([0, 3, 1, 1, 2])
    z = logits.copy()
    z[np.arange(5), target] -= 0.7
    z /= 0.25
    expected = 0.25 * (np.log(np.exp(z).sum(1)) - z[np.arange(5), target]).mean()
    loss = OffsetCrossEntropy(0.7, 0.25)(torch.from_numpy(logits), torch.from_numpy(target))
    assert loss.item() == pytest.approx(expected)


def test_defaults_are_the_papers():
    loss = OffsetCrossEntropy()
    assert loss.offset == pytest.approx(2.1213, abs=1e-4)
    assert loss.temperature == 0.25


@pytest.mark.parametrize("temperature", [0, -1, float("nan")])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ConfigError, match="positive"):
        OffsetCrossEntropy(temperature=temperature)
