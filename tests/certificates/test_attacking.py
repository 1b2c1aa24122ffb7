import copy

import pytest
import torch
from torch import nn

import sll_zoo
from sll_zoo.certificates import adversaries, attacking
from sll_zoo.certificates.certification import evaluation_form
from sll_zoo.errors import ConfigError, InputError
from sll_zoo.layers import FAMILIES

QUICK = {"steps": 20, "restarts": 1}


@pytest.fixture
def images(digits):
    return digits.tensors("test")[0][:10]


@pytest.fixture
def labels(digits):
    return digits.tensors("test")[1][:10]


class Linear(nn.Module):
    """Two logits that differ by a linear map of slope 1, so that the certified radius is exactly the distance to the boundary."""

    def __init__(self, direction, offset):
        super().__init__()
        self.direction = nn.Parameter(direction.flatten() / direction.norm())
        self.offset = offset

    def forward(self, x):
        value = x.flatten(1) @ self.direction - self.offset
        return torch.stack([value, torch.zeros_like(value)], 1)

    def pairwise_lipschitz(self):
        return torch.ones((), dtype=torch.float64)


def test_an_honest_network_keeps_its_word_and_the_three_accuracies_their_order(pretrained, images, labels):
    found = sll_zoo.attack(pretrained, images, labels, **QUICK)
    assert not found.violations.any()
    assert found.n == 10
    for eps in found.eps:
        assert found.clean >= found.empirical[eps] >= found.certified[eps]
    assert found.empirical[1.0] < found.clean


def test_accuracies_are_those_of_certify_and_of_counting(pretrained, images, labels):
    found = sll_zoo.attack(pretrained, images, labels, [0.5, 0.2], **QUICK)
    certificate = sll_zoo.certify(pretrained, images)
    correct = certificate.prediction == labels
    assert torch.equal(found.radius, certificate.radius)
    assert found.clean == correct.double().mean().item()
    assert found.certified == {eps: (correct & (certificate.radius > eps)).double().mean().item() for eps in (0.2, 0.5)}
    assert found.empirical == {eps: (correct & (found.distance > eps)).double().mean().item() for eps in (0.2, 0.5)}


def test_every_adversarial_image_is_what_it_is_said_to_be(pretrained, images, labels):
    found = sll_zoo.attack(pretrained, images, labels, [0.5, 1.0], **QUICK)
    changed = found.distance.isfinite()
    assert changed.any()
    assert (found.distance[changed] <= 1).all()
    assert ((found.adversarial >= 0) & (found.adversarial <= 1)).all()
    assert torch.equal(found.adversarial[~changed], found.images[~changed])
    apart = (found.adversarial - images.double()).flatten(1).norm(dim=1)
    assert torch.equal(apart[changed], found.distance[changed])
    classes = sll_zoo.certify(pretrained, found.adversarial).prediction
    assert torch.equal(classes, found.adversarial_prediction)
    assert torch.equal(classes != found.prediction, changed)


def test_a_certificate_that_is_exact_is_broken_just_beyond_it_and_never_inside():
    image = 0.4 + 0.2 * torch.rand(1, 1, 3, 3, dtype=torch.float64)
    model = Linear(torch.randn(1, 3, 3, dtype=torch.float64), offset=0.1).eval()
    certificate = sll_zoo.certify(model, image)
    radius = certificate.radius.item()
    found = sll_zoo.attack(model, image, certificate.prediction, [1.001 * radius])
    assert not found.violations.any()
    assert radius <= found.distance.item() <= 1.001 * radius


def test_a_ball_is_searched_around_correct_images_only_and_where_it_reaches_beyond_the_radius(
    pretrained, images, labels, monkeypatch
):
    searched = []
    monkeypatch.setattr(attacking, "autoattack", lambda network, x, prediction, eps, norm, seed: searched.append(len(x)) or x)  # noqa: ARG005
    monkeypatch.setattr(attacking, "require_autoattack", lambda: None)
    wrong = (labels + torch.arange(10) % 2) % 10  # every second image is counted as misclassified
    found = sll_zoo.attack(pretrained, images, wrong, [0.7, 1.0], method="autoattack", steps=2, restarts=1)
    correct = found.prediction == wrong
    expected = [int((correct & (found.radius * attacking.JUST_BELOW < eps)).sum()) for eps in found.eps]
    assert searched == [count for count in expected if count]
    assert 0 < expected[-1] < correct.sum() < 10


@pytest.mark.usefixtures("liar")
def test_a_network_that_states_half_of_its_constants_is_caught(pretrained, images, labels):
    found = sll_zoo.attack(pretrained, images, labels, [0.1], **QUICK)
    assert found.violations.any()
    assert (found.adversarial_prediction != found.prediction)[found.violations].all()
    assert (found.distance < found.radius)[found.violations].all()


def test_the_same_seed_finds_the_same(pretrained, images, labels):
    torch.manual_seed(1)
    first = sll_zoo.attack(pretrained, images, labels, [0.5], **QUICK)
    state = torch.random.get_rng_state()
    second = sll_zoo.attack(pretrained, images, labels, [0.5], **QUICK)
    assert torch.equal(first.adversarial, second.adversarial)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_attack_leaves_the_network_as_it_was(pretrained, images, labels):
    pretrained.train()
    sll_zoo.attack(pretrained, images, labels, [0.5], steps=2, restarts=1)
    assert pretrained.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in pretrained.parameters())


def test_a_single_number_is_no_list_of_radii(pretrained, images, labels):
    with pytest.raises(ConfigError, match=r"eps=0\.1: give a list"):
        sll_zoo.attack(pretrained, images, labels, 0.1)


@pytest.mark.parametrize("eps", [[], [-0.1], [0.0], [torch.inf], [torch.nan], [0.1, -1], ["0.1"], [True]])
def test_radii_that_are_none_are_refused(pretrained, images, labels, eps):
    with pytest.raises(ConfigError, match=r"eps=\("):
        sll_zoo.attack(pretrained, images, labels, eps)


@pytest.mark.parametrize("option", ["steps", "restarts", "batch_size"])
def test_numbers_below_1_are_refused(pretrained, images, labels, option):
    with pytest.raises(ConfigError, match=f"{option}=0"):
        sll_zoo.attack(pretrained, images, labels, **{option: 0})


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.full((10,), 10), r"10 .*0 to 9"),
        (torch.full((10,), -1), "-1"),
        (torch.zeros(9, dtype=torch.long), r"\(9,\)"),
        (torch.zeros(10), r"torch\.float32"),
    ],
)
def test_labels_that_are_no_classes_are_refused(pretrained, images, labels, message):
    with pytest.raises(InputError, match=message):
        sll_zoo.attack(pretrained, images, labels)


def test_what_certify_refuses_is_refused(pretrained, images, labels):
    with pytest.raises(InputError, match=r"2\.0"):
        sll_zoo.attack(pretrained, 2 * torch.ones_like(images), labels)
    with pytest.raises(InputError, match="Flatten"):
        sll_zoo.attack(nn.Flatten(), images, labels)
    with pytest.raises(InputError, match="no images"):
        sll_zoo.attack(pretrained, images[:0], labels[:0])


def test_a_method_that_does_not_exist_is_refused(pretrained, images, labels):
    with pytest.raises(ConfigError, match="method='fgsm'"):
        sll_zoo.attack(pretrained, images, labels, method="fgsm")


def test_without_its_package_autoattack_is_refused_with_the_command_to_install_it(pretrained, images, labels, monkeypatch):
    monkeypatch.setattr(adversaries, "find_spec", lambda name: None)  # noqa: ARG005
    with pytest.raises(ConfigError, match="pip install pyautoattack"):
        sll_zoo.attack(pretrained, images, labels, method="autoattack")


def test_autoattack_breaks_no_honest_network(pretrained, images, labels):
    pytest.importorskip("pyautoattack", reason="needs the extra: pip install 'sll-zoo[attack]'")
    found = sll_zoo.attack(pretrained, images[:2], labels[:2], [1.5], method="autoattack", **QUICK)
    assert not found.violations.any()
    assert found.clean >= found.empirical[1.5] >= found.certified[1.5]
    assert (found.distance <= 1.5).any()


def test_autoattack_says_what_it_cannot_attack():
    pytest.importorskip("pyautoattack", reason="needs the extra: pip install 'sll-zoo[attack]'")
    model = Linear(torch.ones(1, 3, 3), offset=1.0)
    with pytest.raises(ConfigError, match=r"2 .*3 x 3"):
        sll_zoo.attack(model, torch.rand(2, 1, 3, 3), torch.zeros(2, dtype=torch.long), [2.0], method="autoattack", **QUICK)


def _searched(model):
    return copy.deepcopy(evaluation_form(model)).float()


def _set_speed(monkeypatch, *, is_fast):
    monkeypatch.setattr(adversaries, "multiplies_bfloat16", lambda _: is_fast)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_every_family_are_alike_in_bfloat16_and_used_where_that_is_fast(family, images, monkeypatch):
    network = _searched(sll_zoo.create_model("sll_nano", family=family).eval())
    for is_fast in (True, False):
        _set_speed(monkeypatch, is_fast=is_fast)
        assert (adversaries.guide_of(network, images) is not network) == is_fast


class OfOneType(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix = torch.randn(64, 10)  # no buffer: it stays float32

    def forward(self, x):
        return x.flatten(1) @ self.matrix


class OfFloats(nn.Module):
    """A network that takes one type only, and has a buffer that is no image."""

    def __init__(self):
        super().__init__()
        self.register_buffer("cube", torch.ones(1, 1, 1, 1, 1))

    def forward(self, x):
        assert x.dtype == torch.float32
        return x.flatten(1)[:, :10] * self.cube.flatten()


class Opposed(nn.Module):
    """Another network, with the opposite logits in bfloat16."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        logits = self.network(x)
        return -logits if x.dtype == torch.bfloat16 else logits


def test_gradients_in_bfloat16_that_fail_or_differ_are_not_used(pretrained, images, monkeypatch):
    _set_speed(monkeypatch, is_fast=True)
    for network in (OfOneType(), OfFloats(), Opposed(_searched(pretrained))):
        assert adversaries.guide_of(network, images) is network


def test_a_guide_neither_ends_a_run_nor_leads_its_last_steps(pretrained, images):
    images = images[:5]
    network = _searched(pretrained)
    is_own = nn.functional.one_hot(network(images).argmax(1), 10).bool()
    asked = []

    def found(i, guide, eps):
        options = {"norm": "2", "steps": 20, "restarts": 1, "generator": torch.Generator().manual_seed(0)}
        one = slice(i, i + 1)
        return adversaries.pgd(network, images[one], is_own[one].int().argmax(1), torch.tensor([eps]), guide=guide, **options)

    for i in range(len(images)):
        # The right gradients, but of another class from the start.
        assert torch.equal(found(i, lambda x, i=i: network(x) - 100 * is_own[i], 3.0), found(i, network, 3.0))
    unbroken = found(0, lambda x: asked.append(x) or network(x), 0.01)
    assert network(unbroken).argmax() == network(images[:1]).argmax()
    assert len(asked) == 20 * adversaries.ROUGH
