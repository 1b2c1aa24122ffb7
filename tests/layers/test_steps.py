"""2/T of several convolutions at once, as on a GPU, against each by itself."""

from types import SimpleNamespace

import pytest
import torch

from sll_zoo.layers import SLLConv2d, sll
from sll_zoo.layers.derived import begin_batch
from tests import tolerances as tol


@pytest.mark.parametrize("power", [1, 4])
def test_together_they_are_as_each_alone(power):
    layers = [SLLConv2d(7, 3, power=power, dtype=torch.float64) for _ in range(5)]
    with torch.no_grad():
        for layer, factor in zip(layers, (1.0, 1e-30, 1e30, 0.0, 1.0), strict=True):
            layer.weight.mul_(factor)
            layer.log_q.normal_()
        layers[-1].weight[1] = 0
    alone = torch.stack([layer.step() for layer in layers])
    tensors = [tensor for layer in layers for tensor in (layer.weight, layer.log_q)]
    together = torch.vmap(layers[0]._step_of)(torch.stack(tensors[::2]), torch.stack(tensors[1::2]))
    assert torch.allclose(together, alone, rtol=tol.SAME, atol=0)
    grad = torch.rand_like(alone)
    for one, other in zip(torch.autograd.grad(together, tensors, grad), torch.autograd.grad(alone, tensors, grad), strict=True):
        assert torch.allclose(one, other, rtol=tol.SAME, atol=tol.SAME * float(other.abs().max()))


def test_layers_of_one_shape_are_stacked_where_that_is_their_formula(monkeypatch):
    layers = [SLLConv2d(7, 3, dtype=torch.float64) for _ in range(3)]
    for layer in layers:
        torch.nn.init.normal_(layer.log_q)
    assert not sll._may_be_stacked(layers)
    monkeypatch.setattr(sll, "_may_be_stacked", lambda _: True)
    for step, layer in zip(SLLConv2d.steps(layers), layers, strict=True):
        assert torch.allclose(step, layer.step(), rtol=tol.SAME, atol=0)


class Halved(SLLConv2d):
    def step(self):
        return super().step() / 2


def on_a_gpu(layer):
    layer.__dict__["weight"] = SimpleNamespace(device=torch.device("cuda", 0))  # hides the parameter
    return layer


@pytest.mark.parametrize(
    ("change", "stacked"),
    [
        (lambda _: None, True),
        (lambda layers: layers.append(on_a_gpu(SLLConv2d(7, 3, power=2))), False),
        (lambda layers: layers.append(on_a_gpu(Halved(7, 3))), False),
        (lambda layers: layers.append(SLLConv2d(7, 3)), False),
        (lambda layers: begin_batch(layers[0], last=False), False),
    ],
)
def test_others_than_plain_layers_on_a_gpu_are_not_stacked(change, stacked):
    layers = [on_a_gpu(SLLConv2d(7, 3)) for _ in range(2)]
    change(layers)
    assert sll._may_be_stacked(layers) == stacked


def test_without_a_gpu_each_is_computed_alone(monkeypatch):
    layers = [SLLConv2d(7, 3) for _ in range(2)]
    monkeypatch.setattr(torch, "vmap", None)
    assert all(torch.equal(step, layer.step()) for step, layer in zip(SLLConv2d.steps(layers), layers, strict=True))
