import copy
import pickle

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sll_zoo.certificates.certification import certify
from sll_zoo.certificates.soundness import freeze
from sll_zoo.errors import InputError, WeightsError
from sll_zoo.functional.fast.reversible import Layer
from sll_zoo.layers import FAMILIES, FoldedResidual, SLLConv2d, SLLLinear, fold, is_folded
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
    folded, exact = fold(net, torch.float64), net.double()(x)
    assert (folded(x) - exact).abs().max() <= tol.FOLD * exact.abs().max()
    assert torch.equal(folded.pairwise_lipschitz(), net.pairwise_lipschitz())
    assert is_folded(folded)
    assert not is_folded(net)
    assert not any(isinstance(layer, FAMILIES[family].classes) for layer in folded.modules())


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
    before, folded = net(x), fold(net, torch.float64)  # a cached rescaling would be made here
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
    assert torch.equal(fold(net, torch.float64)(x.double()), fold(fresh, torch.float64)(x.double()))


@torch.no_grad()
def test_folding_leaves_the_original_alone():
    net, x = LipNet(CONFIG).double(), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    folded = fold(net)
    assert torch.equal(folded(x), net(x))
    assert is_folded(folded)
    assert not is_folded(net)
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert sum(isinstance(module, FoldedResidual) for module in folded.modules()) == 4


@pytest.mark.parametrize("family", ["sll", "orthogonal", "sandwich"])
def test_a_folded_network_computes_nothing_but_what_depends_on_the_images(family):
    net = random_network(CONVNET, family).double().eval()

    def operations(network, batch):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.rand(batch, 3, 8, 8, dtype=torch.float64))
        return counter.get_total_flops()

    folded = fold(net)
    assert operations(folded, 3) == 3 * operations(folded, 1) > 0
    assert operations(net, 3) < 3 * operations(net, 1)  # its rescaling, or its matrices, cost the same for any batch


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_folded_network_keeps_the_dtype_and_its_rescaling_is_computed_in_float64(dtype):
    layer = SLLConv2d(3, 4).to(dtype)
    exact = SLLConv2d(3, 4).double()
    exact.load_state_dict(layer.state_dict())
    assert torch.equal(fold(layer).step, exact.step().to(dtype))
    net, x = LipNet(CONFIG).to(dtype), torch.rand(2, 3, 8, 8, dtype=dtype)
    assert fold(net)(x).dtype == dtype
    torch.testing.assert_close(fold(net)(x), net(x), rtol=0, atol=tol.FLOAT32)
    assert is_folded(fold(net), dtype)


def test_folding_twice_changes_nothing():
    folded = fold(LipNet(CONFIG), torch.float64)
    x = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    assert torch.equal(fold(folded)(x), folded(x))


@pytest.mark.parametrize("method", ["forward", "functional"])
def test_a_layer_that_does_something_else_than_its_class_says_stays_as_it_is(method):
    changed = {"forward": lambda _, x: 2 * x, "functional": lambda self: FoldedResidual.functional(self)}
    convs = LipNet(CONFIG).convs
    convs[0].__class__ = type("Changed", (SLLConv2d,), {method: changed[method]})
    convs[1].register_forward_hook(lambda _, __, y: 2 * y)
    folded = fold(convs)
    assert [isinstance(layer, FoldedResidual) for layer in folded] == [False, False]
    assert is_folded(folded, torch.float32)


def test_a_layer_with_a_method_put_there_by_hand_stays_as_it_is():
    convs, x = LipNet(CONFIG).convs.double(), torch.rand(2, CONFIG.width, 8, 8, dtype=torch.float64)
    convs[1].functional = lambda: Layer(convs[1].weight, None, convs[1].step() / 2)
    folded = fold(convs)
    assert [isinstance(layer, FoldedResidual) for layer in folded] == [True, False]
    torch.testing.assert_close(folded(x), convs(x), rtol=0, atol=tol.SAME)


def test_a_compiled_layer_stays_as_it_is():
    convs = LipNet(CONFIG).convs
    convs[0] = torch.compile(convs[0])
    assert isinstance(fold(convs)[1], FoldedResidual)


def _scaled(layer):
    layer.step.mul_(2)


def _scaled_unseen_by_autograd(layer):
    layer.step.data.mul_(2)


def _scaled_in_numpy(layer):
    layer.step.numpy()[:] *= 2


def _assigned(layer):
    layer.step = 2 * layer.step


def _loaded(layer):
    layer.load_state_dict({key: 2 * value for key, value in layer.state_dict().items()})


def _scaled_and_converted(layer):
    layer.step.mul_(2)
    layer.float().double()


def _in_another_order(layer):
    layer.weight.copy_(layer.weight.flip(0))


EDITS = [_scaled, _scaled_unseen_by_autograd, _scaled_in_numpy, _assigned, _loaded, _scaled_and_converted, _in_another_order]


@pytest.mark.parametrize("edit", EDITS)
def test_a_folded_layer_that_was_changed_has_no_certificate(edit):
    x, folded = torch.rand(2, 3, 8, 8), fold(LipNet(CONFIG), torch.float64)
    certify(folded, x)
    edit(folded.convs[1])
    for road in (lambda: certify(folded, x), folded.pairwise_lipschitz, lambda: freeze(folded)):
        with pytest.raises(WeightsError, match=r"convs\.1 \(FoldedResidual\)"):
            road()


@pytest.mark.parametrize("family", ["sll", "orthogonal", "sandwich"])
def test_what_only_moves_a_folded_network_leaves_it_intact(family):
    x, folded = torch.rand(2, 3, 8, 8), fold(random_network(CONFIG, family), torch.float64)
    radius = certify(folded, x).radius
    for moved in (copy.deepcopy(folded), folded.to(memory_format=torch.channels_last), pickle.loads(pickle.dumps(folded))):
        torch.testing.assert_close(certify(moved, x).radius, radius)  # convolutions sum in another order
    folded.float().pairwise_lipschitz()  # for float32's own precision
    for rounded in (folded, folded.double(), fold(random_network(CONFIG, family)).double()):
        with pytest.raises(InputError, match=r"fold\(model, torch\.float64\)"):
            certify(rounded, x)


def test_a_network_of_ones_own_with_a_folded_layer_that_was_changed_has_no_certificate():
    class Own(torch.nn.Sequential):
        def pairwise_lipschitz(self):
            return torch.tensor(2.0)

    own = fold(Own(torch.nn.Flatten(), SLLLinear(12, 4).double()))
    certify(own, torch.rand(1, 3, 2, 2))
    own[1].step.data.mul_(3)
    with pytest.raises(WeightsError, match=r"1 \(FoldedResidual\)"):
        certify(own, torch.rand(1, 3, 2, 2))
