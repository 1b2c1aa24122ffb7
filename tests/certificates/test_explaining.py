import math

import numpy as np
import pytest
import torch
from torch import nn

import sll_zoo
from sll_zoo.certificates.explaining import _time_to_move
from sll_zoo.errors import InputError
from tests.certificates.test_attacking import Linear
from tests.tolerances import REFLECTED, SAME, SLOPE


@pytest.fixture(scope="module")
def images(digits):
    return digits.tensors("test")[0][:6]


@pytest.fixture(scope="module")
def found(images):
    return sll_zoo.explain(sll_zoo.create_model("sll_nano.digits", pretrained=True).eval(), images)


class Constant(nn.Module):
    """Two logits that do not depend on the image."""

    def forward(self, x):
        return torch.tensor([1.0, 0.0], dtype=x.dtype).expand(len(x), 2) + 0 * x.sum((1, 2, 3))[:, None]

    def pairwise_lipschitz(self):
        return torch.zeros((), dtype=torch.float64)


def test_of_a_linear_map_all_is_known():
    weight = torch.randn(1, 3, 3, dtype=torch.float64)
    images = 0.4 + 0.2 * torch.rand(4, 1, 3, 3, dtype=torch.float64)
    found = sll_zoo.explain(Linear(weight, offset=0.1).eval(), images)
    direction = weight.numpy() / np.linalg.norm(weight.numpy())
    value = (images.numpy() * direction).sum((1, 2, 3)) - 0.1
    np.testing.assert_allclose(found.gradient, np.sign(value)[:, None, None, None] * direction, atol=SAME)
    np.testing.assert_allclose(found.radius, abs(value), atol=SAME)
    np.testing.assert_allclose(found.margin, abs(value), atol=SAME)
    np.testing.assert_allclose(found.tightness, 1, atol=SAME)
    on_the_boundary = images.numpy() - value[:, None, None, None] * direction
    inside = ((on_the_boundary > 0.01) & (on_the_boundary < 0.99)).all((1, 2, 3))
    assert inside.any()
    np.testing.assert_allclose(found.t[inside], abs(value)[inside], atol=SLOPE)
    np.testing.assert_allclose(found.counterfactual[inside], on_the_boundary[inside], atol=SLOPE)


def test_the_gradient_is_that_of_the_margin(pretrained, found, images):
    network = sll_zoo.fold(pretrained, torch.float64)
    direction, h = torch.randn(images.shape, dtype=torch.float64), 1e-6
    with torch.no_grad():
        ahead, behind = network(images + h * direction).numpy(), network(images - h * direction).numpy()
    rows, y, j = np.arange(len(images)), found.prediction.numpy(), found.target.numpy()
    slope = ((ahead - behind)[rows, y] - (ahead - behind)[rows, j]) / (2 * h)
    np.testing.assert_allclose((found.gradient * direction).sum((1, 2, 3)), slope, atol=SLOPE)


def test_the_other_class_is_the_one_that_limits_the_radius(pretrained, found, images):
    logits, constants = pretrained(images).detach().double().numpy(), pretrained.pairwise_lipschitz().detach().numpy()
    for place, y in enumerate(found.prediction.tolist()):
        others = [j for j in range(10) if j != y]
        ratios = [(logits[place, y] - logits[place, j]) / constants[y, j] for j in others]
        assert found.target[place] == others[int(np.argmin(ratios))]
    torch.testing.assert_close(found.margin / found.constant, found.radius, atol=SAME, rtol=0)
    assert (found.tightness <= 1).all()


def test_numbers_are_in_order_and_images_are_what_they_are_said_to_be(pretrained, found, images):
    certificate = sll_zoo.certify(pretrained, images)
    assert torch.equal(found.radius, certificate.radius)
    assert torch.equal(found.prediction, certificate.prediction)
    ways = (
        (found.counterfactual, found.counterfactual_prediction, found.counterfactual_distance),
        (found.adversarial, found.adversarial_prediction, found.adversarial_distance),
    )
    for other, prediction, distance in ways:
        assert distance.isfinite().all()
        assert (found.radius <= distance).all()
        assert torch.equal(prediction, sll_zoo.certify(pretrained, other).prediction)
        assert (prediction != found.prediction).all()
        np.testing.assert_allclose(np.linalg.norm((other - images).flatten(1).numpy(), axis=1), distance, atol=SAME)


def test_t_is_the_smallest_that_changes_the_class(pretrained, found, images):
    clipped = np.clip(images.numpy() - found.t[:, None, None, None].numpy() * found.gradient.numpy(), 0, 1)
    np.testing.assert_allclose(found.counterfactual, clipped, atol=SAME)
    for share in np.linspace(0, 0.9999, 60):
        point = (images.double() - share * found.t[:, None, None, None] * found.gradient).clamp(0, 1)
        assert torch.equal(sll_zoo.certify(pretrained, point).prediction, found.prediction), share


def test_the_ray_ends_where_no_pixel_moves_any_more():
    """A pixel of a small gradient goes on when that of the large one has stopped."""
    weight, boundary = torch.tensor([[[1.0, 1e-2, 0.0, 1e-200]]], dtype=torch.float64), torch.tensor([0.0, 0.5, 0.3, 0.3])
    images = torch.tensor([[[[0.5, 1.0, 0.3, 0.3]]]], dtype=torch.float64)
    direction = weight / weight.norm()
    found = sll_zoo.explain(Linear(weight, offset=float((direction * boundary).sum())).eval(), images)
    np.testing.assert_allclose(found.counterfactual.flatten(), boundary, atol=SLOPE)
    np.testing.assert_allclose(found.counterfactual_distance, math.hypot(0.5, 0.5), atol=SLOPE)
    nowhere = sll_zoo.explain(Linear(weight, offset=-0.1).eval(), images)
    assert nowhere.t.tolist() == nowhere.counterfactual_distance.tolist() == [math.inf]
    assert torch.equal(nowhere.counterfactual, images)


def test_pixels_that_move_as_far_as_they_can_have_moved_by_the_distance_that_was_asked_for():
    points, gradient = torch.rand(5, 1, 3, 3, dtype=torch.float64), torch.randn(5, 1, 3, 3, dtype=torch.float64)
    gradient[:, :, 0] *= 1e-3
    for share in (1e-3, 0.5, 0.99, 1.01):
        corner = torch.where(gradient > 0, 0.0, 1.0).double()
        distance = share * (corner - points).flatten(1).norm(dim=1)
        time, ended = _time_to_move(points, gradient, distance)
        moved = (points - time[:, None, None, None] * gradient).clamp(0, 1)
        assert ended.all() == ended.any() == (share > 1)
        np.testing.assert_allclose((moved - points).flatten(1).norm(dim=1), distance / max(share, 1), atol=SAME)


def test_a_target_is_compared_with(pretrained, found, images):
    other = (found.prediction + 1) % 10
    towards = sll_zoo.explain(pretrained, images, other)
    assert torch.equal(towards.target, other)
    assert torch.equal(towards.radius, found.radius)
    assert (towards.margin / towards.constant >= found.radius - SAME).all()
    one = sll_zoo.explain(pretrained, images[:1], int(other[0]))
    torch.testing.assert_close(one.gradient, towards.gradient[:1], atol=SAME, rtol=0)


@pytest.mark.parametrize("family", ["bro", "orthogonal"])
@pytest.mark.parametrize("size", ["isometric_nano", "isometric"])
def test_networks_of_square_orthogonal_layers_are_as_steep_as_their_constants(family, size):
    model = sll_zoo.create_model(f"{family}_{size}").eval()
    found = sll_zoo.explain(model, torch.rand(2, *model.config.input_shape))
    torch.testing.assert_close(found.gradient_norm, found.constant, atol=REFLECTED, rtol=0)


def test_a_frozen_network_is_explained_with_sound_radii(pretrained, found, images):
    frozen = sll_zoo.freeze(pretrained)
    sound = sll_zoo.explain(frozen, images[:2])
    assert torch.equal(sound.radius, sll_zoo.certify(frozen, images[:2]).radius)
    torch.testing.assert_close(sound.gradient, found.gradient[:2], atol=SLOPE, rtol=0)
    assert (sound.radius <= sound.counterfactual_distance).all()


def test_where_nothing_can_change_nothing_is_found():
    found = sll_zoo.explain(Constant().eval(), torch.rand(2, 1, 2, 2))
    assert found.target.tolist() == [1, 1]
    for length in (found.radius, found.t, found.counterfactual_distance, found.adversarial_distance):
        assert length.tolist() == [math.inf, math.inf]
    assert torch.equal(found.counterfactual, found.images)


@pytest.mark.usefixtures("liar")
def test_constants_that_are_too_small_are_seen(pretrained, images):
    found = sll_zoo.explain(pretrained, images)
    assert (found.counterfactual_distance < found.radius).any()
    assert (found.tightness > 1).any()


def test_an_explanation_leaves_the_network_as_it_was(pretrained, images):
    sll_zoo.explain(pretrained, images[:1])
    assert all(parameter.requires_grad and parameter.grad is None for parameter in pretrained.parameters())


@pytest.mark.parametrize(
    ("target", "message"),
    [("3", "target='3'"), (10, r"10 .*0\.\.9"), (-1, "-1"), (1.0, r"float"), (torch.zeros(5, dtype=torch.long), r"\(5,\)")],
)
def test_targets_that_are_no_classes_are_refused(pretrained, images, target, message):
    with pytest.raises(InputError, match=message):
        sll_zoo.explain(pretrained, images, target)


def test_what_cannot_be_explained_is_refused(pretrained, found, images):
    with pytest.raises(InputError, match=f"target {found.prediction[2]} "):
        sll_zoo.explain(pretrained, images[2:3], found.prediction[2:3])
    with pytest.raises(InputError, match="no images"):
        sll_zoo.explain(pretrained, images[:0])
    with pytest.raises(InputError, match=r"2\.0"):
        sll_zoo.explain(pretrained, 2 * torch.ones_like(images))
    with pytest.raises(InputError, match="Flatten"):
        sll_zoo.explain(nn.Flatten(), images)
    with pytest.raises(InputError, match="single class"):
        sll_zoo.explain(sll_zoo.create_model("sll_nano", num_classes=1).eval(), images)
    with pytest.raises(InputError, match="'inf'"):
        sll_zoo.explain(sll_zoo.create_model("sortnet_nano").eval(), images)
