"""Networks in L∞: what they guarantee, what refuses them, and that their norm is never mixed with another."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn

import sll_zoo
from sll_zoo.errors import ConfigError, InputError, WeightsError
from sll_zoo.layers import MeanShift, SortLinear
from sll_zoo.metrics import CertifiedAccuracy, CertifiedAccuracyCurve, MeanCertifiedRadius
from sll_zoo.models import SortNet, SortNetConfig
from sll_zoo.models.nearest import NearestNeighbour
from sll_zoo.reports.plot import plot_certified_accuracy
from sll_zoo.zoo.publishing.recording import measurement
from tests import tolerances as tol
from tests.laws import Subject, law_02_no_pair_is_stretched
from tests.plants import network as network_in_l2
from tests.plants import sorting

METRICS = (CertifiedAccuracy, MeanCertifiedRadius, CertifiedAccuracyCurve)


@pytest.fixture(params=[0.0, 0.3])
def net(request):
    return sorting(rho=request.param)


@pytest.fixture
def images():
    return torch.rand(6, 2, 4, 3)


def test_the_family_is_named_after_rho_and_rho_outside_of_its_range_is_refused():
    assert (sorting(rho=0.0).config.family, sorting(rho=0.3).config.family) == ("linfdist", "sortnet")
    with pytest.raises(ConfigError, match="rho=1"):
        SortNetConfig(width=4, rho=1.0)
    with pytest.raises(ConfigError, match="layers=0"):
        SortNetConfig(width=4, layers=0)


def test_the_whole_network_is_one_lipschitz_in_l_infinity(net):
    law_02_no_pair_is_stretched(Subject(lambda: copy.deepcopy(net), (2, 4, 3), norm="inf"))


def test_logit_differences_stay_within_their_constants(net):
    net.double()
    x, y = torch.rand(2, 100, 2, 4, 3, dtype=torch.float64)
    change = net(x) - net(y)
    differences = (change[:, :, None] - change[:, None, :]).abs()
    bound = net.pairwise_lipschitz() * (x - y).flatten(1).abs().amax(1)[:, None, None]
    assert (differences <= bound + tol.SAME).all()


def test_the_certificate_is_half_of_the_margin_and_carries_its_norm(net, images):
    certificate = sll_zoo.certify(net, images)
    logits = net.double()(images.double()).sort(1, descending=True).values
    assert certificate.norm == net.norm == "inf"
    torch.testing.assert_close(certificate.radius, (logits[:, 0] - logits[:, 1]) / 2, rtol=0, atol=tol.SAME)
    assert (certificate.radius > 0).all()


def test_a_tie_is_never_certified(images):
    net = sorting()
    with torch.no_grad():
        net.head.weight.copy_(net.head.weight[:1].clone().expand_as(net.head.weight))
    assert not sll_zoo.certify(net, images).radius.any()
    assert not sll_zoo.certify(net, images, sound=True).radius.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_sound_radius_is_a_little_smaller_and_never_more_than_one(net, images, dtype):
    frozen = sll_zoo.freeze(net, dtype)
    plain, sound = sll_zoo.certify(net, images), sll_zoo.certify(frozen, images)
    assert sound.norm == "inf"
    assert torch.equal(sound.prediction, plain.prediction)
    assert ((sound.slack > 0) & (sound.radius <= plain.radius + tol.FLOAT32)).all()
    assert (sound.slack < (1e-11 if dtype == torch.float64 else 1e-4)).all()
    with torch.no_grad():
        net.head.weight[1:] += 100
    assert (sll_zoo.certify(net, images, sound=True).radius <= 1).all()


def test_the_audit_has_a_row_for_each_layer_in_its_norm(net):
    found = sll_zoo.audit(net)
    assert (found.norm, found.problems, found.constant, found.pairwise) == ("inf", [], 1.0, (2.0, 2.0))
    rows = {row.name: row for row in found.layers}
    assert [row.kind for row in found.layers].count("SortLinear") == 2
    for row in rows.values():
        assert row.upper_bound == 1
        rho = getattr(net.get_submodule(row.name), "rho", 0.0)
        inputs = row.shape[1] if row.shape else 1
        assert row.lower_bound == pytest.approx(1 - rho**inputs, rel=tol.GAIN)


class HalfAConstant(nn.Module):
    """Minus the distance to two points in L∞, with constants of half the truth."""

    norm = "inf"

    def __init__(self, points):
        super().__init__()
        self.points = nn.Parameter(points)

    def forward(self, x):
        return -(x.flatten(1)[:, None] - self.points).abs().amax(2)

    def pairwise_lipschitz(self):
        return 1 - torch.eye(2, dtype=torch.float64)


def test_the_attack_searches_boxes_and_finds_a_lie_but_nothing_against_a_true_certificate(net, images):
    labels = sll_zoo.certify(net, images).prediction
    found = sll_zoo.attack(net, images, labels, [0.05, 0.5], steps=30, restarts=2)
    assert (found.norm, found.violations.any()) == ("inf", False)
    changed = found.distance.isfinite()
    assert changed.any()
    apart = (found.adversarial - found.images).flatten(1).abs().amax(1)
    assert torch.equal(apart[changed], found.distance[changed])
    assert (apart <= 0.5).all()
    liar = HalfAConstant(torch.stack([torch.full((24,), 0.2), torch.full((24,), 0.8)])).eval()
    near = torch.full((1, 2, 4, 3), 0.3)
    certificate = sll_zoo.certify(liar, near)
    assert (certificate.norm, round(certificate.radius.item(), 6)) == ("inf", 0.4)
    assert sll_zoo.attack(liar, near, certificate.prediction, [0.25], steps=30, restarts=2).violations.all()


def test_a_network_whose_norm_was_changed_by_hand_is_refused(images):
    for net, norm in ((sorting(), "2"), (network_in_l2().eval(), "inf")):
        net.norm = norm
        with pytest.raises(ConfigError, match=f"L{norm}"):
            sll_zoo.certify(net, torch.rand(1, *net.config.input_shape))
    frozen = sll_zoo.freeze(sorting())
    frozen.norm = "2"
    with pytest.raises(WeightsError):
        sll_zoo.certify(frozen, images)
    own = HalfAConstant(torch.rand(2, 24)).eval()
    own.norm = math.inf
    with pytest.raises(InputError, match="norm=inf"):
        sll_zoo.certify(own, images)


def test_a_module_named_norm_is_no_norm(images):
    class Own(nn.Flatten):
        def pairwise_lipschitz(self):
            return torch.tensor(2**0.5, dtype=torch.float64)

    own = Own()
    own.norm = nn.Identity()
    assert sll_zoo.certify(own.eval(), images).norm == "2"


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_refuses_another_norm(metric, net, images):
    logits, target, constants = net(images), torch.zeros(6, dtype=torch.long), net.pairwise_lipschitz()
    with pytest.raises(InputError, match="L2 together with Linf"):
        metric().update(logits, target, constants, net.norm)
    with pytest.raises(InputError, match="Linf together with L2"):
        metric(norm="inf").update(logits, target, constants)
    metric(norm="inf").update(logits, target, constants, net.norm)
    with pytest.raises(InputError, match="norm='1'"):
        metric(norm="1")


def test_a_curve_and_a_record_refuse_two_norms(net, tmp_path):
    images, labels = torch.rand(8, 2, 4, 3), torch.arange(8) % 4
    own = sll_zoo.evaluate(net, [(images, labels)])
    other, same = (
        sll_zoo.evaluate(NearestNeighbour(images, labels, 4, norm).eval(), [(images, labels)]) for norm in ("2", "inf")
    )
    with pytest.raises(InputError, match="Linf together with L2"):
        plot_certified_accuracy({"a": own, "b": other}, "title", tmp_path / "curve.png")
    with pytest.raises(InputError, match="Linf together with L2"):
        measurement(own, "made up", "0" * 64, baseline=other)
    assert measurement(own, "made up", "0" * 64, baseline=same).norm == "Linf"
    assert tuple(own.certified) == (2 / 255, 8 / 255, 0.1, 0.2, 0.3)


def test_the_nearest_neighbour_in_l_infinity_is_certified_in_it():
    images, labels = torch.rand(5, 1, 3, 3, dtype=torch.float64), torch.arange(5)
    certificate = sll_zoo.certify(NearestNeighbour(images, labels, 5, "inf").eval(), images)
    nearest = (images[:, None] - images).abs().flatten(2).amax(2) + 9 * torch.eye(5, dtype=torch.float64)
    assert certificate.norm == "inf"
    torch.testing.assert_close(certificate.radius, nearest.amin(1) / 2)


def test_training_drops_inputs_and_evaluation_does_not(images):
    net = sorting().train()
    layer = net.layers[1][0]
    x = torch.randn(5, 6)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))
    net(images).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())
    with pytest.raises(InputError, match="NaN"):
        layer.train()(torch.full((2, 6), torch.nan))
    x[0, 0] = torch.nan
    with pytest.raises(InputError, match="NaN"):
        layer(x)


def test_the_mean_shift_keeps_a_running_mean_and_subtracts_it_in_evaluation():
    layer, x = MeanShift(3, momentum=0.5), 2 + torch.randn(50, 3)
    torch.testing.assert_close(layer(x).mean(0), torch.zeros(3), rtol=0, atol=tol.FLOAT32)
    layer.eval()
    torch.testing.assert_close(layer(x), x - 0.5 * x.mean(0))


def test_images_reach_the_features_through_maps_of_vectors(net, images):
    features, maps = net.forward_intermediates(images)
    assert [tuple(found.shape) for found in maps] == [(6, 6), (6, 6)]
    torch.testing.assert_close(features, net.forward_features(images))
    net.reset_classifier(2)
    assert net(images).shape == (6, 2)
    net.reset_classifier(0)
    with pytest.raises(ConfigError, match="num_classes=0"):
        sll_zoo.certify(net, images)


def test_a_layer_of_another_norm_or_rho_within_the_network_is_refused(images):
    for change in (lambda net: setattr(net.layers[0][0], "rho", 1.5), lambda net: net.layers[0].append(nn.ReLU())):
        net = sorting()
        change(net)
        with pytest.raises(ConfigError, match=r"layers\.0"):
            sll_zoo.certify(net, images)


def test_the_network_compiles_whole_in_eval_mode(net, images):
    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")(images)
    torch.testing.assert_close(compiled, net(images), rtol=0, atol=tol.FLOAT32)


@pytest.mark.parametrize("form", [lambda net: net, lambda net: sll_zoo.fold(net, torch.float64), sll_zoo.freeze])
def test_a_single_layer_in_train_mode_is_refused_since_it_drops_inputs(form, images):
    made = form(sorting())
    next(layer for layer in made.modules() if isinstance(layer, SortLinear)).train()
    with pytest.raises(InputError, match="train mode"):
        sll_zoo.certify(made, images)


@pytest.mark.parametrize("size", [0, "3", 2.5, True])
@pytest.mark.usefixtures("unchecked")
def test_layers_of_no_size_are_refused(size):
    for kind in (lambda size: SortLinear(size, 3), lambda size: SortLinear(3, size), MeanShift):
        with pytest.raises(ConfigError, match=str(size)):
            kind(size)


@pytest.mark.parametrize("momentum", [0, -0.1, 2, math.nan, "0.1", None, True])
@pytest.mark.usefixtures("unchecked")
def test_a_mean_that_never_or_wrongly_moves_is_refused(momentum):
    with pytest.raises(ConfigError, match=f"momentum={momentum!r}"):
        MeanShift(3, momentum)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(2, 1), (2, 4), (2, 2, 3), (3,)])
@pytest.mark.usefixtures("unchecked")
def test_inputs_of_another_shape_are_refused_and_never_repeated(shape, training):
    with pytest.raises(InputError, match=r"shape \("):
        SortLinear(3, 4).train(training)(torch.rand(shape))


def test_configurations_are_values():
    config = SortNetConfig(width=4, layers=3, rho=0.25, img_size=4, in_chans=1)
    assert SortNet(config).config == dataclasses.replace(config)
    assert (config.depth, config.num_features, config.input_shape) == (3, 4, (1, 4, 4))
