import dataclasses
import shutil
import sysconfig
from pathlib import Path

import pytest
import torch

import sll_zoo
from sll_zoo.errors import ConfigError, InputError
from sll_zoo.layers import FAMILIES, MaxMin, SLLConv2d, SLLLinear, fold
from sll_zoo.models import LipConvNetConfig, LipNetConfig, LipRNNConfig, SortNetConfig, build
from tests import tolerances as tol
from tests.laws import Subject, law_02_no_pair_is_stretched

CONFIGS = {
    "lipnet": LipNetConfig(width=6, conv_layers=2, conv_inner=3, dense_layers=2, dense_inner=5, img_size=(8, 4)),
    "lipnet of patches": LipNetConfig(
        width=12, conv_layers=2, conv_inner=3, dense_layers=2, dense_inner=5, img_size=(8, 4), patch=2, pool=2
    ),
    "lipnet of windows": LipNetConfig(
        width=6,
        conv_layers=2,
        conv_inner=3,
        kernel_size=1,
        dense_layers=1,
        dense_inner=5,
        img_size=(8, 4),
        window=2,
        pool=1,
        downsample=2,
    ),
    "lipconvnet": LipConvNetConfig(width=4, blocks=2, block_layers=2, img_size=(8, 4)),
    "liprnn": LipRNNConfig(width=6, cell_layers=2, cell_inner=7, dense_layers=1, dense_inner=5, img_size=(8, 4)),
}


CAN_BUILD = any(map(shutil.which, ("c++", "g++", "clang++"))) and Path(sysconfig.get_path("include"), "Python.h").exists()


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.fixture(params=[*CONFIGS, "sortnet"])
def any_config(request):
    """Return a configuration of a network in either norm; in L∞ there is no choice of a family."""
    return (CONFIGS | {"sortnet": SortNetConfig(width=6, img_size=(8, 4))})[request.param]


def test_features_and_logits_have_the_shapes_that_timm_users_expect(any_config):
    net, x = build(any_config).eval(), torch.rand(2, 3, 8, 4)
    features = net.forward_features(x)
    assert features.shape == (2, net.num_features)
    assert torch.equal(net.forward_head(features), net(x))
    assert net.forward_head(features, pre_logits=True) is features
    assert net(x).shape == (2, net.num_classes) == (2, 10)
    assert net.get_classifier() is net.head


def test_the_head_can_be_replaced_and_removed(any_config):
    net, x = build(any_config).eval(), torch.rand(2, 3, 8, 4)
    net.reset_classifier(4)
    assert net(x).shape == (2, 4)
    assert net.config.num_classes == net.num_classes == 4
    net.reset_classifier(0)
    assert torch.equal(net(x), net.forward_features(x))
    with pytest.raises(ConfigError, match="num_classes=0"):
        net.pairwise_lipschitz()
    with pytest.raises(ConfigError, match="global_pool"):
        net.reset_classifier(4, "avg")


def test_the_new_head_has_the_dtype_of_the_body(any_config):
    net = build(any_config).double()
    net.reset_classifier(4)
    assert net(torch.rand(1, 3, 8, 4, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 1, 8, 4)])
def test_images_of_another_shape_are_refused(any_config, shape):
    with pytest.raises(InputError, match=r"\(batch, 3, 8, 4\)"):
        build(any_config)(torch.rand(shape))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_whole_body_is_one_lipschitz_in_every_family(config, family):
    class Body(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = fold(build(dataclasses.replace(config, family=family)), torch.float64)

        def forward(self, x):
            return self.net.forward_features(x)

    law_02_no_pair_is_stretched(Subject(Body, (3, 8, 4)))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_of_every_family_trains_and_is_certified(config, family):
    net, images = build(dataclasses.replace(config, family=family)), torch.rand(4, 3, 8, 4)
    net(images).square().sum().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None] == []
    certificate = sll_zoo.certify(net.eval(), images)
    assert torch.equal(certificate.prediction, net.double()(images.double()).argmax(1))
    assert (certificate.radius > 0).all()


def test_logit_differences_stay_within_their_constants(config):
    net = build(config).double()
    x, y = torch.rand(2, 100, 3, 8, 4, dtype=torch.float64)
    change = net(x) - net(y)
    differences = (change[:, :, None] - change[:, None, :]).abs()
    bound = net.pairwise_lipschitz() * (x - y).flatten(1).norm(dim=1)[:, None, None]
    assert (differences <= bound + tol.SAME).all()


def test_every_parameter_gets_a_gradient(any_config):
    net = build(any_config)
    net(torch.rand(4, 3, 8, 4)).square().sum().backward()
    assert [name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()] == []


def test_log_q_is_spared_weight_decay(config):
    net = build(config)
    layers = [name for name, module in net.named_modules() if isinstance(module, SLLConv2d | SLLLinear)]
    assert net.no_weight_decay() == {f"{name}.log_q" for name in layers} != set()


def test_network_compiles_whole(config):
    net, x = build(config).double(), torch.rand(2, 3, 8, 4, dtype=torch.float64)
    torch.compiler.reset()
    torch.testing.assert_close(torch.compile(net, fullgraph=True, backend="aot_eager")(x), net(x), rtol=0, atol=tol.SAME)


def test_a_network_is_mapped_over_images_one_by_one(any_config):
    net, x = build(any_config).double().eval(), torch.rand(3, 3, 8, 4, dtype=torch.float64)
    torch.testing.assert_close(torch.vmap(lambda image: net(image[None])[0])(x), net(x), rtol=0, atol=tol.SAME)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.skipif(not CAN_BUILD, reason="torch.compile builds with a C++ compiler and the headers of Python")
@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex:UserWarning")
def test_a_network_of_every_family_compiles_to_code_with_its_derivatives(family):
    torch.manual_seed(0)
    net = build(dataclasses.replace(CONFIGS["lipnet"], family=family, conv_layers=1, dense_layers=1, width=8, img_size=8))
    x, found = torch.rand(2, 3, 8, 8), []
    torch.compiler.reset()
    for network in (torch.compile(net, fullgraph=True), net):
        y = network(x)
        found.append([y, *torch.autograd.grad(y.square().sum(), list(net.parameters()))])
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() < tol.FLOAT32 * other.norm()


@pytest.mark.parametrize("family", ["sll", "cpl"])
def test_maxmin_follows_every_residual_layer_where_it_is_asked_for(family):
    net, x = build(dataclasses.replace(CONFIGS["lipnet"], family=family, maxmin=True)).eval(), torch.rand(3, 3, 8, 4)
    assert sum(isinstance(layer, MaxMin) for layer in net.modules()) == net.config.depth
    assert sll_zoo.audit(net).problems == []
    plain, sound = sll_zoo.certify(net, x), sll_zoo.certify(net, x, sound=True)
    assert torch.equal(sll_zoo.certify(fold(net, torch.float64), x).radius, plain.radius)
    torch.testing.assert_close(sound.radius, plain.radius, rtol=1e-6, atol=1e-7)
