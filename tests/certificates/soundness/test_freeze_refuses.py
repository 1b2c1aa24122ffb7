"""Networks of which nothing can be proved: freezing refuses them, with the reason."""

import pytest
import torch
from torch import nn

import sll_zoo
from sll_zoo.errors import ConfigError, WeightsError
from sll_zoo.models import LipNet
from tests.plants import network, stretch


class Halved(LipNet):
    def body(self, x):
        return super().body(x) / 2


class InPlace(LipNet):
    def body(self, x):
        return super().body(x).mul_(10)


class Uncentred(LipNet):
    def _centred(self, x):
        return x


class Louder(nn.Identity):
    def forward(self, x):
        return 100 * x


@pytest.mark.parametrize("kind", [Halved, InPlace])
def test_a_body_that_is_more_than_its_layers(kind):
    with pytest.raises(ConfigError, match=rf"\({kind.__name__}\): head"):
        sll_zoo.freeze(kind(network().config))


def test_a_network_that_does_not_begin_with_its_mean_whose_first_layer_would_not_be_proved():
    with pytest.raises(ConfigError, match=r"\(Uncentred\): its class has a _centred of its own"):
        sll_zoo.freeze(Uncentred(network().config))


@pytest.mark.parametrize(
    ("name", "layer"), [("convs.0", nn.Conv2d(4, 4, 3, padding=1)), ("convs.1", Louder()), ("pool", nn.AvgPool2d(4))]
)
def test_layers_that_are_not_known_to_be_one_lipschitz(name, layer):
    net = network()
    net.set_submodule(name, layer)
    with pytest.raises(ConfigError, match=rf"{name} \({type(layer).__name__}\)"):
        sll_zoo.freeze(net)


def test_a_pooling_of_another_norm_and_a_subclass_of_a_layer():
    net = network()
    net.pool.divisor_override = 1
    with pytest.raises(ConfigError, match=r"pool \(NormOneAvgPool2d\): .*settings"):
        sll_zoo.freeze(net)
    net = sll_zoo.fold(network(), torch.float64)
    stretch(net.denses[0])
    with pytest.raises(ConfigError, match=r"denses\.0 \(Louder\)"):
        sll_zoo.freeze(net)


def test_hooks_activations_and_weights_without_a_bound():
    net = network()
    net.pool.register_forward_hook(lambda _, __, y: 100 * y)
    with pytest.raises(ConfigError, match=r"pool \(NormOneAvgPool2d\): .*hook"):
        sll_zoo.freeze(net)
    net = network()
    net.convs[0].activation = "tanh"
    with pytest.raises(ConfigError, match=r"tanh.*sound=True"):
        sll_zoo.freeze(net)
    net = network()
    net.head.bias.data[0] = torch.nan
    with pytest.raises(WeightsError, match=r"head\.bias"):
        sll_zoo.freeze(net)
    net = network()
    net.denses[0].bias.data.fill_(1e9)
    with pytest.raises(WeightsError, match=r"1e\+06"):
        sll_zoo.freeze(net)


def test_other_models_and_other_types():
    with pytest.raises(ConfigError, match="Linear"):
        sll_zoo.freeze(nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="num_classes=0"):
        sll_zoo.freeze(network(num_classes=0))
    for dtype in (torch.bfloat16, torch.int32):
        with pytest.raises(ConfigError, match=str(dtype)):
            sll_zoo.freeze(network(), dtype)


def test_rows_of_the_head_that_are_tiny_have_the_constants_of_what_is_executed():
    net = network(num_classes=2).double().eval()
    with torch.no_grad():
        net.head.weight.copy_(1e-170 * net.head.weight)
    frozen = sll_zoo.freeze(net)
    torch.testing.assert_close(frozen.pairwise_lipschitz(), net.pairwise_lipschitz())
    assert frozen.pairwise_lipschitz()[0, 1] > 0.1
