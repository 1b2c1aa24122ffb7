"""Violations planted in a network: the audit finds each."""

import pytest
import torch
from torch import nn

import sll_zoo
from sll_zoo.layers import FAMILIES, OrthogonalLinear, SLLConv2d, UnitRowsLinear
from sll_zoo.layers.residual import _Residual
from sll_zoo.models import LipNet
from tests.plants import downsampling, network, stretch


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("part", ["convs", "denses"])
def test_a_layer_stretched_by_one_percent_is_found(family, part):
    net = network(family)
    layer = getattr(net, part)[1]
    stretch(layer[0] if isinstance(layer, nn.Sequential) else layer)
    problems = sll_zoo.audit(net).problems
    assert len(problems) == 1
    assert problems[0].startswith(f"{part}.1")


@pytest.mark.parametrize("family", ["sll", "aol"])
def test_any_layer_of_a_downsampling_network_stretched_by_one_percent_is_found(family):
    names = [layer.name for layer in sll_zoo.audit(downsampling(family)).layers]
    assert {name.partition(".")[0] for name in names} == {"center", "pad", "stem", "blocks", "pool", "dense", "head"}
    for name in names:
        net = downsampling(family)
        stretch(net.get_submodule(name))
        (problem,) = sll_zoo.audit(net).problems
        assert problem.startswith(f"{name} ")


def test_what_a_network_does_between_its_layers_is_found():
    class Louder(LipNet):
        def body(self, x):
            return self.denses(1.01 * self.pool(self.convs(self.pad(x))).flatten(1))

    class LouderLogits(LipNet):
        def forward_head(self, x, pre_logits=False):
            return 1.01 * super().forward_head(x, pre_logits)

    (problem,) = sll_zoo.audit(Louder(network().config)).problems
    assert problem == "denses.0 (SLLLinear): its input is not the output of the layer before it"
    (problem,) = sll_zoo.audit(LouderLogits(network().config)).problems
    assert problem == "output (LouderLogits): the network changes the output of its last layer"


def test_a_network_that_states_constants_of_its_own_is_found():
    class Boaster(LipNet):
        def pairwise_lipschitz(self):
            return 0.99 * super().pairwise_lipschitz()

    (problem,) = sll_zoo.audit(Boaster(network().config)).problems
    assert problem == "network (Boaster): it states constants of its own for its logits"


def test_a_subclass_that_computes_something_else_is_found():
    class Louder(SLLConv2d):
        def forward(self, x):
            return 1.01 * super().forward(x)

    net = network()
    net.convs[0] = Louder(4, 3)
    (problem,) = sll_zoo.audit(net).problems
    assert "no proof" in problem


def test_a_subclass_whose_t_differs_from_call_to_call_is_found():
    class Fickle(SLLConv2d):
        calls = 0

        def step(self):
            Fickle.calls += 1
            return super().step() * (0.9 if Fickle.calls % 2 else 1)

    net = network()
    net.convs[1].__class__ = Fickle
    (problem,) = sll_zoo.audit(net).problems
    assert problem.startswith("convs.1 (Fickle)")


def test_a_hook_is_found_wherever_it_is():
    for name in ("convs.0", "convs", "pool", "head", ""):
        net = network()
        net.get_submodule(name).register_forward_hook(lambda _, __, output: 1.01 * output)
        assert any(problem.startswith(name or "network") and "hook" in problem for problem in sll_zoo.audit(net).problems)
        net = sll_zoo.fold(network("cpl"), torch.float64)
        net.get_submodule(name).register_forward_pre_hook(lambda _, args: (1.01 * args[0],))
        assert any("hook" in problem for problem in sll_zoo.audit(net).problems)


@pytest.mark.parametrize("far", [0, 50])
def test_a_layer_that_is_wrong_everywhere_or_far_away_is_found(far, monkeypatch):
    formula = _Residual.forward
    monkeypatch.setattr(_Residual, "forward", lambda layer, x: formula(layer, x) * (1.01 if x.norm() > far else 1))
    assert "something else than its formula" in sll_zoo.audit(network()).problems[0]


@pytest.mark.parametrize("family", ["sandwich", "orthogonal", "sll", "aol"])
def test_a_louder_subclass_of_a_folded_layer_is_found_whatever_its_bias(family):
    net = sll_zoo.fold(network(family), torch.float64)
    layer = net.denses[0] if family in ("sll", "sandwich") else net.denses[0][0]
    layer.bias.fill_(-9.0)
    stretch(layer)
    (problem,) = sll_zoo.audit(net).problems
    assert "no proof" in problem


def test_a_head_that_is_not_the_last_layer_once_is_found():
    class Unused(LipNet):
        def forward_head(self, x, pre_logits=False):  # noqa: ARG002 - its name in the base class
            return x[:, :10]

    class Further(LipNet):
        def __init__(self, config):
            super().__init__(config)
            self.further = OrthogonalLinear(10, 10)

        def forward_head(self, x, pre_logits=False):  # noqa: ARG002 - its name in the base class
            return self.further(self.head(x))

    for net in (Unused, Further):
        assert any("not the last layer, once" in problem for problem in sll_zoo.audit(net(network().config)).problems)
    net = network()
    net.denses[0] = UnitRowsLinear(16, 16)
    assert "a head within a network" in sll_zoo.audit(net).problems[0]
