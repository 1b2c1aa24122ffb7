"""What layers derive from their weights is derived once where that is asked for, and nowhere else."""

import copy

import pytest
import torch

from sll_zoo import audit, create_model
from sll_zoo.layers import SLLConv2d, SLLLinear
from sll_zoo.layers.derived import derived_once


@pytest.fixture
def computed(monkeypatch):
    """Count how often SLL layers compute T."""
    calls = []
    for kind in (SLLLinear, SLLConv2d):
        step = kind.step
        monkeypatch.setattr(kind, "step", lambda self, step=step: (calls.append(self), step(self))[1])
    return calls


def test_t_is_derived_once_within_and_anew_afterwards(computed):
    layer, x = SLLLinear(4, 3).eval(), torch.rand(2, 4)
    with derived_once([layer]):
        first = layer(x)
        assert torch.equal(layer(x), first)
        assert len(computed) == 1
        copy.deepcopy(layer)(x)  # a copy may get other weights
        assert len(computed) == 2
    with torch.no_grad():
        layer.weight.mul_(0.5)
        assert torch.equal(layer(x), copy.deepcopy(layer)(x))
    assert len(computed) == 4


def test_it_is_not_kept_where_gradients_or_training_could_follow(computed):
    layer, x = SLLLinear(4, 3).eval(), torch.rand(2, 4)
    with derived_once([layer]):
        with torch.enable_grad():
            layer(x)
            layer(x)
        layer.train()(x)
        layer(x)
    assert len(computed) == 4


def test_an_audit_computes_t_of_a_layer_once(computed):
    model = create_model("sll_nano").eval()
    audit(model)
    layers = [layer for layer in model.modules() if isinstance(layer, SLLLinear | SLLConv2d)]
    assert len(computed) == len(layers) > 0
