import pytest
import torch

from sll_zoo.certification import certify
from sll_zoo.layers import FAMILIES, FoldedResidual, SLLConv2d, fold, is_folded
from sll_zoo.models import LipConvNetConfig, LipNet, LipNetConfig, build
from tests import tolerances as tol

CONFIG = LipNetConfig(width=4, conv_layers=2, conv_inner=3, dense_layers=2, dense_inner=5, img_size=8)
CONVNET = LipConvNetConfig(width=4, blocks=2, block_layers=1, img_size=8)


def random_network(config, family, seed=0):
    """Return a network in eval mode with every parameter away from its initial value."""
    torch.manual_seed(seed)
    net = build(type(config)(**{**vars(config), "family": family})).eval()
    for parameter in net.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return net


@pytest.mark.parametrize("config", [CONFIG, CONVNET], ids=["lipnet", "lipconvnet"])
@pytest.mark.parametrize("family", FAMILIES)
def test_folding_gives_the_same_logits_and_constants_in_every_family(family, config):
    net, x = random_network(config, family), torch.rand(3, 3, 8, 8, dtype=torch.float64)
    folded, exact = fold(net), net.double()(x)
    assert (folded(x) - exact).abs().max() <= tol.FOLD * exact.abs().max()
    assert torch.equal(folded.pairwise_lipschitz(), net.pairwise_lipschitz())


def _rewrite(net):
    for parameter in net.parameters():
        parameter.data.mul_(1.3).add_(0.05)


def _step(net):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    net(torch.rand(2, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    net.zero_grad(set_to_none=True)


def _under_autocast(net):
    with torch.autocast("cpu", torch.bfloat16):
        net(torch.rand(2, 3, 8, 8))
        _rewrite(net)
        net(torch.rand(2, 3, 8, 8))


CHANGES = {
    "rewritten in place": _rewrite,
    "a training step": _step,
    "load_state_dict": lambda net: net.load_state_dict(random_network(net.config, net.config.family, seed=1).state_dict()),
    "load_state_dict by assignment": lambda net: net.load_state_dict(
        random_network(net.config, net.config.family, seed=1).state_dict(), assign=True
    ),
    "rewritten under autocast": _under_autocast,
    "to half precision and back": lambda net: net.half().float(),
    "to double, rewritten, and back": lambda net: (_rewrite(net.double()), net.float()),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_that_change_in_eval_mode_change_the_network_and_not_its_folded_copy(family, change):
    net, x = random_network(CONFIG, family), torch.rand(2, 3, 8, 8)
    before, folded = net(x), fold(net)  # a rescaling that is kept would be kept here
    kept = folded(x.double())
    CHANGES[change](net)
    fresh = build(net.config).eval()
    fresh.load_state_dict(net.state_dict())
    assert torch.equal(net(x), fresh(x))
    assert torch.equal(certify(net, x).radius, certify(fresh, x).radius)
    assert not torch.equal(net(x), before)
    assert torch.equal(folded(x.double()), kept)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("family", FAMILIES)
def test_in_another_dtype_a_network_rescales_the_weights_of_that_dtype(family, dtype):
    net, x = random_network(CONFIG, family), torch.rand(2, 3, 8, 8)
    net(x)
    fresh = build(net.config).to(dtype)
    fresh.load_state_dict(net.to(dtype).state_dict())
    assert torch.equal(net(x.to(dtype)), fresh.eval()(x.to(dtype)))
    assert torch.equal(fold(net)(x.double()), fold(fresh)(x.double()))


def test_folding_leaves_the_original_alone():
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
    monkeypatch.setattr("sll_zoo.layers.sll.row_sums", None)
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


@pytest.mark.parametrize("method", ["forward", "functional"])
def test_a_layer_that_does_something_else_than_its_class_says_stays_as_it_is(method):
    changed = {"forward": lambda _, x: 2 * x, "functional": lambda self: FoldedResidual.functional(self)}
    net = LipNet(CONFIG)
    net.convs[0].__class__ = type("Changed", (SLLConv2d,), {method: changed[method]})
    net.convs[1].register_forward_hook(lambda _, __, y: 2 * y)
    folded = fold(net)
    assert [isinstance(layer, FoldedResidual) for layer in folded.convs] == [False, False]
    assert is_folded(folded)


def test_a_compiled_layer_stays_as_it_is():
    net = LipNet(CONFIG)
    net.convs[0] = torch.compile(net.convs[0])
    assert isinstance(fold(net).convs[1], FoldedResidual)
