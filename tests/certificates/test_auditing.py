import json

import pytest
import torch
from torch import nn

import sll_zoo
from sll_zoo.certificates.bounds import lipschitz_estimate, lipschitz_upper_bound
from sll_zoo.cli.main import main
from sll_zoo.errors import InputError
from sll_zoo.layers import FAMILIES, FoldedLinearForm, FoldedResidual, NormOneAvgPool2d
from sll_zoo.models import LipNet
from tests.plants import downsampling, network


@pytest.mark.parametrize("make", [network, downsampling])
@pytest.mark.parametrize("family", FAMILIES)
def test_networks_of_every_family_keep_their_claims(family, make):
    found = sll_zoo.audit(make(family))
    assert found.problems == []
    assert found.constant == 1
    assert all(layer.gap >= -1e-9 for layer in found.layers)
    assert sum(layer.family == family for layer in found.layers) == 4


def test_the_shipped_network_passes_and_is_not_changed(pretrained):
    before = {key: value.clone() for key, value in pretrained.state_dict().items()}
    found = sll_zoo.audit(pretrained)
    assert found.problems == []
    constants = pretrained.pairwise_lipschitz()
    assert found.pairwise[1] == pytest.approx(constants.max().item(), rel=1e-6)
    assert all(torch.equal(value, before[key]) for key, value in pretrained.state_dict().items())
    assert pretrained.head.weight.dtype == torch.float32


@pytest.mark.parametrize(("family", "name"), [("sandwich", "denses.0"), ("sandwich", "convs.1"), ("orthogonal", "convs.1.0")])
def test_stored_matrices_of_a_norm_above_one_are_found(family, name):
    net = sll_zoo.fold(network(family), torch.float64)
    assert sll_zoo.audit(net).problems == []
    net.get_submodule(name).stored.mul_(1.01)
    (problem,) = sll_zoo.audit(net).problems
    assert problem.startswith(f"{name} (Folded")
    assert "its constant is between" in problem
    bound = next(layer for layer in sll_zoo.audit(net).layers if layer.name == name)
    assert 1.0099 < bound.upper_bound < 1.0101
    assert bound.margin == pytest.approx(1 - bound.upper_bound)


def test_a_step_too_long_for_the_condition_is_found_with_the_bound_that_is_left():
    net = sll_zoo.fold(network("cpl"), torch.float64)
    net.denses[0].step.mul_(1.2)
    (problem,) = sll_zoo.audit(net).problems
    assert problem.startswith("denses.0 (FoldedResidual): its constant is between")
    bound = next(layer for layer in sll_zoo.audit(net).layers if layer.name == "denses.0")
    assert 1 < bound.upper_bound < 1.45
    assert bound.lower_bound <= bound.upper_bound


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("convs.0", nn.Conv2d(4, 4, 3, padding=1)),
        ("convs.1", nn.BatchNorm2d(4)),
        ("pool", nn.AvgPool2d(4)),
        ("denses.0", nn.Linear(16, 16)),
    ],
)
def test_layers_without_a_proof_are_named(name, module):
    net = network()
    net.set_submodule(name, module)
    (problem,) = sll_zoo.audit(net).problems
    assert problem == f"{name} ({type(module).__name__}): a layer of this kind has no proof of being 1-Lipschitz"


def test_a_pooling_of_another_norm_is_found():
    net = network()
    net.pool = NormOneAvgPool2d(4)
    net.pool.divisor_override = 3
    assert "pool" in sll_zoo.audit(net).problems[0]


def test_a_layer_with_nan_is_found_and_others_are_not_blamed():
    net = network()
    net.convs[1].bias.data[0] = torch.nan
    assert sll_zoo.audit(net).problems == ["convs.1 (SLLConv2d): NaN or infinity in bias"]


def test_constants_of_ones_own_and_a_head_without_a_proof_are_found():
    class Silent(LipNet):
        def pairwise_lipschitz(self):
            return torch.full((10, 10), torch.nan)

    assert "constants of its own" in sll_zoo.audit(Silent(network().config)).problems[0]
    net = network()
    net.head = nn.Linear(16, 10)
    assert sll_zoo.audit(net).problems == ["head (Linear): a layer of this kind has no proof of being 1-Lipschitz"]


def test_a_sandwich_without_weight_or_psi_and_a_step_below_zero_have_a_verdict():
    net = network("sandwich")
    net.denses[0].weight.data.zero_()
    assert sll_zoo.audit(net).problems == []
    net = sll_zoo.fold(net, torch.float64)
    net.denses[0].psi[0] = 0.0
    assert "no proof" in sll_zoo.audit(net).problems[0]
    net = sll_zoo.fold(network(), torch.float64)
    net.denses[0].step[0] = -1.0
    assert "no proof" in sll_zoo.audit(net).problems[0]


def test_parametrized_layers_are_named_and_other_models_refused():
    net = network()
    net.denses[0] = nn.utils.parametrizations.spectral_norm(nn.Linear(16, 16))
    assert "no proof" in sll_zoo.audit(net).problems[0]
    with pytest.raises(InputError, match="Sequential"):
        sll_zoo.audit(nn.Sequential())


def test_circular_padding_is_judged_on_the_image_itself():
    kernel = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    kernel[0, 0, 1] = torch.tensor([0.5, 0, -0.5])
    # On a torus of 4 the differences reach norm 1, on one of 6 only 0.87: T = 0.8 is too small.
    layer = FoldedResidual(kernel, torch.tensor([-5.0]), torch.tensor([2 / 0.8]).double(), "relu", "circular")
    margin, bound = lipschitz_upper_bound(layer, torch.zeros(1, 1, 4, 4).double())
    assert margin == pytest.approx(1 - 1 / 0.8)
    assert bound == pytest.approx(2 / 0.8 - 1)


def test_the_command_prints_a_table_or_json_and_its_status_says_what_it_found(capsys, monkeypatch):
    assert main(["audit", "sll_nano.digits"]) == 0
    text = capsys.readouterr().out
    assert "every layer keeps its claim" in text
    assert "features: 1-Lipschitz" in text
    assert main(["audit", "sll_nano.digits", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []
    spoiled = network()
    spoiled.convs[0] = nn.Conv2d(4, 4, 3, padding=1)
    monkeypatch.setattr("sll_zoo.cli.measure.create_model", lambda *_, **__: spoiled)
    assert main(["audit", "spoiled"]) == 1
    assert "has no proof" in capsys.readouterr().out


def test_a_name_without_weights_is_audited_as_it_starts(capsys):
    assert main(["audit", "cpl_nano"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("cpl_nano ")
    assert "family cpl, residual form" in printed.out
    assert "every layer keeps its claim" in printed.out


def test_the_search_finds_the_gain_of_a_linear_map():
    layer = FoldedLinearForm(torch.tensor([[0.1, 0.0], [0.0, 0.7], [0.0, 0.0]], dtype=torch.float64), None, "zeros")
    assert lipschitz_estimate(layer, torch.rand(3, 2, dtype=torch.float64)) == pytest.approx(0.7, rel=1e-9)
