import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.fft
import torch

import sll_zoo
from sll_zoo.certificates.soundness import FrozenNetwork
from sll_zoo.certificates.soundness.arithmetic import arithmetic_of
from sll_zoo.certificates.soundness.radius import sound_radius
from sll_zoo.certificates.soundness.rounding import rounding_of
from sll_zoo.errors import InputError, WeightsError
from sll_zoo.layers import FoldedResidual, OrthogonalConv2d, SandwichConv2d, SandwichLinear, SLLLinear, fold
from sll_zoo.models import LipConvNetConfig, LipNet, LipNetConfig, LipRNNConfig, build
from sll_zoo.models.chain import trace
from tests.certificates.soundness.exact import along, chain, distance, forward, rational

CONFIGS = {
    "lipnet": LipNetConfig(width=4, conv_layers=2, conv_inner=3, dense_layers=2, dense_inner=5, img_size=4, pool=2),
    "lipnet of windows": LipNetConfig(
        width=4,
        conv_layers=2,
        conv_inner=3,
        kernel_size=1,
        dense_layers=1,
        dense_inner=5,
        dct=True,
        window=2,
        pool=1,
        downsample=2,
        img_size=4,
    ),
    "lipconvnet": LipConvNetConfig(width=4, blocks=2, block_layers=1, img_size=4),
    "liprnn": LipRNNConfig(width=4, cell_layers=2, cell_inner=3, dense_layers=1, dense_inner=5, img_size=4),
}
FAMILIES = ("sll", "sll4", "cpl", "aol", "spectral", "lires")
DTYPES = (torch.float64, torch.float32)


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


def trained(config, family, scale=1.0):
    """Return a network away from its start, with weights of a size."""
    net = build(dataclasses.replace(config, family=family))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter)).mul_(scale)
    return net.eval()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_features_and_logits_are_off_by_no_more_than_the_bound_says(config, family, dtype):
    network = sll_zoo.freeze(trained(config, family), dtype)
    images = torch.rand(2, 3, 4, 4).double()
    features, logit = network.errors(images, torch.zeros(2, dtype=torch.float64))
    _, calls, logits = trace(network.network, images.to(dtype))
    for i, image in enumerate(images):
        exact = chain([call.layer for call in calls[:-1]], image)
        off = distance(calls[-1].x[i], exact)
        assert 0 < off <= features[i]
        head = forward(network.network.head, rational(calls[-1].x[i]))
        assert max(abs(float(a - b)) for a, b in zip(rational(logits[i]), head, strict=True)) <= logit[i]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_off_by_no_more_than_its_bound(config, family, dtype):
    network = sll_zoo.freeze(trained(config, family, scale=3.0), dtype).network
    for scale in (1e-3, 1.0, 1e3):
        for call in trace(network, (scale * torch.rand(1, 3, 4, 4)).to(dtype)).calls[1:-1]:
            bound = rounding_of(call.layer, call.x, arithmetic_of(dtype)).at(call.x.double().norm())
            assert distance(call.y[0], forward(call.layer, rational(call.x[0]))) <= bound, call.name


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_layers_of_thousands_of_terms_stay_within_their_bounds_in_long_double(dtype):
    network = sll_zoo.fold(SLLLinear(3000, 500), torch.float64)
    layer = FoldedResidual(network.weight, network.bias, network.step, "relu", "zeros").to(dtype)
    x = torch.randn(1, 3000, dtype=dtype)
    longs = [tensor.detach().double().numpy().astype("longdouble") for tensor in (layer.weight, layer.bias, layer.step, x[0])]
    weight, bias, step, point = longs
    exact = point - weight.T @ (step * (weight @ point + bias).clip(0))
    off = float(((layer(x)[0].double().numpy() - exact) ** 2).sum() ** 0.5)
    assert 0 < off <= rounding_of(layer, x, arithmetic_of(dtype)).at(x.double().norm())


def in_long_double(matrices, x):
    """Return stored matrices applied to one input in long double, through its own Fourier transform."""
    matrices = matrices.resolve_conj().numpy().astype("clongdouble" if matrices.is_complex() else "longdouble")
    if matrices.ndim == 2:
        return np.einsum("oc,c...->o...", matrices, x)
    moved = np.einsum("hwoc,chw->ohw", matrices, scipy.fft.rfft2(x))
    return scipy.fft.irfft2(moved, s=x.shape[1:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "kernel_size"), [((), 0), ((4, 4), 1), ((4, 4), 3), ((7, 5), 3), ((32, 32), 3)])
def test_orthogonal_and_sandwich_layers_stay_within_their_bounds_in_long_double(size, kernel_size, dtype):
    x = torch.randn(1, 6, *size, dtype=dtype)
    point, root = x[0].double().numpy().astype("longdouble"), np.sqrt(np.longdouble(2))
    sandwich = (SandwichConv2d(6, 4, kernel_size) if size else SandwichLinear(6, 4)).double()
    with torch.no_grad():
        sandwich.log_psi.normal_()
    layer = fold(sandwich, dtype, size or None)
    psi, bias = (along(values.double().numpy().astype("longdouble"), point) for values in (layer.psi, layer.bias))
    hidden = psi * (root * in_long_double(layer.matrices()[..., 4:, :].mH, point) / psi + bias).clip(0)
    exact = {layer: root * in_long_double(layer.matrices()[..., :4, :], hidden)}
    if kernel_size > 1:
        layer = fold(OrthogonalConv2d(6, 4, kernel_size).double(), dtype, size)
        exact[layer] = in_long_double(layer.matrices(), point) + along(layer.bias.double().numpy().astype("longdouble"), point)
    for layer, y in exact.items():
        off = float(((layer(x)[0].double().numpy() - y) ** 2).sum() ** 0.5)
        assert 0 < off <= rounding_of(layer, x, arithmetic_of(dtype)).at(x.double().norm())


@pytest.mark.parametrize("family", ["orthogonal", "bro", "sandwich"])
def test_frozen_circular_networks_compute_what_the_network_does(config, family):
    net, images = trained(config, family), torch.rand(20, 3, 4, 4)
    plain, sound = sll_zoo.certify(net, images), sll_zoo.certify(net, images, sound=True)
    assert torch.equal(sound.prediction, plain.prediction)
    assert ((sound.slack > 0) & (sound.slack < 1e-8)).all()
    torch.testing.assert_close(sound.radius, plain.radius, rtol=1e-7, atol=1e-8)
    torch.testing.assert_close(sll_zoo.freeze(net)(images), net.double()(images.double()), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_the_bound_for_sll_small_is_below_1e_8_in_double_and_certifies_nothing_in_single_precision():
    model, images = sll_zoo.create_model("sll_small").eval(), torch.rand(2, 3, 32, 32)
    double, single = sll_zoo.freeze(model), sll_zoo.freeze(model, torch.float32)
    features, logit = double.errors(images.double(), torch.ones(2))
    assert features.max() < 1e-8
    assert logit.max() < 1e-10
    assert not sll_zoo.certify(single, images).radius.any()


@pytest.mark.parametrize("family", FAMILIES)
def test_sound_radii_are_smaller_by_their_slack_and_predictions_stay(config, family):
    net, images = trained(config, family), torch.rand(20, 3, 4, 4)
    plain, sound = sll_zoo.certify(net, images), sll_zoo.certify(net, images, sound=True)
    assert torch.equal(sound.prediction, plain.prediction)
    assert (sound.slack > 0).all()
    assert sound.slack.max() < 1e-9
    # The frozen network is another one, shrunk by some 1e-10.
    torch.testing.assert_close(sound.radius, plain.radius, rtol=1e-7, atol=1e-8)
    assert not plain.slack.any()


@pytest.mark.parametrize(("features", "logit"), [(0.01, 0.0), (0.0, 0.02), (0.01, 0.02)])
def test_errors_come_off_the_radius_twice_for_features_and_four_times_for_logits(features, logit):
    """Both are made at the image and at the perturbed one, the latter by each of the two logits."""
    errors = tuple(torch.tensor([error], dtype=torch.float64) for error in (features, logit))
    network = SimpleNamespace(
        norm="2", pairwise_lipschitz=lambda: 2 * (1 - torch.eye(2, dtype=torch.float64)), errors=lambda *_: errors
    )
    _, radius, slack = sound_radius(network, torch.zeros(1, 3, 4, 4), torch.tensor([[1.0, 0.0]]))
    exact = (1 - 4 * logit) / 2 - 2 * features
    assert exact - 1e-12 < radius < exact
    assert slack == 0.5 - radius


def test_single_precision_says_what_it_must_subtract(pretrained, digits):
    images = digits.tensors("test")[0]
    double = sll_zoo.certify(pretrained, images, sound=True)
    single = sll_zoo.certify(sll_zoo.freeze(pretrained, torch.float32), images)
    assert (single.slack > 1e6 * double.slack).all()
    assert (single.radius < double.radius).all()
    assert (single.radius > 0).float().mean() > 0.9


@pytest.mark.parametrize(
    ("shape", "family", "name", "stored"),
    [
        ("lipnet", "cpl", "denses.0", "step"),
        ("lipnet", "sandwich", "denses.0", "stored"),
        ("lipnet", "sandwich", "convs.1", "stored"),
        ("lipnet", "orthogonal", "convs.1.0", "stored"),
        ("liprnn", "cpl", "recurrent.cell.1", "step"),
    ],
)
def test_a_layer_that_breaks_its_claim_cannot_be_frozen(shape, family, name, stored):
    net = sll_zoo.fold(trained(CONFIGS[shape], family), torch.float64)
    layer = net.get_submodule(name)
    getattr(layer, stored).mul_(1.01)
    layer.seal()  # as if it had been so from the start
    with pytest.raises(WeightsError, match=f"^{name}:"):
        sll_zoo.freeze(net)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_stored_is_a_contraction(config, dtype):
    for family in (*FAMILIES, "orthogonal", "bro", "sandwich"):
        network = sll_zoo.freeze(trained(config, family), dtype)
        found = sll_zoo.audit(sll_zoo.freeze(trained(config, family), dtype).network.double())
        assert [layer.name for layer in found.layers if layer.margin < 0 and layer.name != "head"] == []
        assert network.pairwise_lipschitz().dtype == torch.float64


def test_infinite_radii_become_the_diameter_of_the_images():
    net = LipNet(CONFIGS["lipnet"]).eval()
    with torch.no_grad():
        net.head.weight.copy_(net.head.weight[:1].expand_as(net.head.weight))
        net.head.bias.copy_(torch.arange(10.0))
    images = torch.rand(3, 3, 4, 4)
    assert sll_zoo.certify(net, images).radius.isinf().all()
    radius = sll_zoo.certify(net, images, sound=True).radius
    assert (radius <= math.sqrt(48)).all()
    assert (radius > 6.9).all()


def test_a_frozen_network_moves_and_is_not_converted():
    network = sll_zoo.freeze(LipNet(CONFIGS["lipnet"]).eval(), torch.float32)
    assert isinstance(network.to("cpu"), FrozenNetwork)
    with pytest.raises(InputError, match=r"torch\.float32.*dtype=torch\.float64"):
        network.double()


def test_no_attack_changes_a_class_within_a_sound_radius(pretrained, digits):
    images, labels = (part[::40] for part in digits.tensors("test"))
    for dtype in DTYPES:
        found = sll_zoo.attack(sll_zoo.freeze(pretrained, dtype), images, labels, steps=20, restarts=1)
        assert not found.violations.any()
        assert (found.radius > 0).all()


def test_an_evaluation_of_a_frozen_network_is_sound(pretrained, digits):
    evaluation = sll_zoo.evaluate(sll_zoo.freeze(pretrained, torch.float32), [digits.tensors("test")])
    assert evaluation.sound
    assert (evaluation.slack[evaluation.proved > 0] > 1e-3).all()
    assert 0 < evaluation.certified[36 / 255] < evaluation.clean
