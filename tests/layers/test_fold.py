import torch

from sll_zoo.layers import FoldedResidual, SLLConv2d, fold, is_folded
from sll_zoo.models import LipNet, LipNetConfig

CONFIG = LipNetConfig(width=4, conv_layers=2, conv_inner=3, dense_layers=2, dense_inner=5, img_size=8)


def test_folding_gives_the_same_network_and_leaves_the_original_alone():
    net, x = LipNet(CONFIG).double(), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    folded = fold(net)
    assert torch.equal(folded(x), net(x))
    assert is_folded(folded)
    assert not is_folded(net)
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert sum(isinstance(module, FoldedResidual) for module in folded.modules()) == 4


def test_a_folded_network_does_no_rescaling(monkeypatch):
    folded = fold(LipNet(CONFIG))
    monkeypatch.setattr("sll_zoo.layers.sll.tightened", None)
    folded(torch.rand(1, 3, 8, 8, dtype=torch.float64))


def test_the_step_is_computed_in_the_precision_that_is_asked_for():
    layer = SLLConv2d(3, 4)
    exact = SLLConv2d(3, 4).double()
    exact.load_state_dict(layer.state_dict())
    assert torch.equal(fold(layer).step, exact.step())


def test_folding_twice_changes_nothing():
    folded = fold(LipNet(CONFIG))
    x = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    assert torch.equal(fold(folded)(x), folded(x))
