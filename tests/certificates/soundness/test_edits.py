"""Five hundred random edits of networks: each is refused, or certified for the function that is executed."""

import copy
import random
from collections import Counter

import pytest
import torch

import sll_zoo
from sll_zoo.errors import SllZooError
from sll_zoo.layers import FAMILIES
from sll_zoo.models import LipschitzClassifier
from tests.certificates.soundness import edits
from tests.marks import slow_but
from tests.plants import network

BLOCKS, EDITS_OF_A_BLOCK = 20, 25
# Radii of one function on two roads, through sums in another order.
SAME = 1e-9


def executed(model):
    """Return the function of a model in float64, as whoever calls it gets it."""
    return copy.deepcopy(model).double() if not hasattr(model, "network") else model


def exact_radii(model, logits):
    """Return the radii that unit rows give, from logits, written once more."""
    head = getattr(model, "network", model).head.weight.detach().double()
    rows = head / head.norm(dim=1, keepdim=True).clamp_min(1e-300)
    best = logits.argmax(1)
    distances = (rows[best][:, None] - rows[None]).norm(dim=2)
    margins = (logits.gather(1, best[:, None]) - logits) / distances
    return best, margins.scatter(1, best[:, None], torch.inf).amin(1)


def attacked(function, images, radius, best):
    """Return whether gradient ascent inside the balls finds an image of another class."""
    x, radius = images.clone(), radius.clamp_max(images[0].numel() ** 0.5)  # the diameter of [0, 1]^d
    for _ in range(10):
        x.requires_grad_()
        logits = function(x)
        others = logits.scatter(1, best[:, None], -torch.inf).amax(1)
        (grad,) = torch.autograd.grad((others - logits.gather(1, best[:, None])[:, 0]).sum(), x)
        step = grad / grad.flatten(1).norm(dim=1).clamp_min(1e-300)[:, None, None, None]
        d = x.detach() + 0.5 * radius[:, None, None, None] * step - images
        d = d * (0.999 * radius / d.flatten(1).norm(dim=1).clamp_min(1e-300)).clamp_max(1)[:, None, None, None]
        x = (images + d).clamp(0, 1)
    return bool(((function(x).argmax(1) != best) & (radius > 0)).any())


def outcome(seed):
    """Edit a network and say what became of it; AssertionError for a certificate that is not true."""
    try:
        return _outcome(seed)
    finally:
        while edits.GLOBAL_HOOKS:
            edits.GLOBAL_HOOKS.pop().remove()


def _outcome(seed):
    random_ = random.Random(seed)  # noqa: S311 - the same edits each time
    torch.manual_seed(seed)
    net = network(list(FAMILIES)[seed % len(FAMILIES)]).eval()
    edit = edits.EDITS[random_.randrange(len(edits.EDITS))]
    images = torch.rand(4, 3, 8, 8, dtype=torch.float64)
    try:
        edited = edit(net, random_).eval()
        function = executed(edited)
        logits = function(images).detach()
    except SllZooError:
        return "refused"
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, NotImplementedError):
        return "does not run"
    try:
        certificate = sll_zoo.certify(edited, images)
    except SllZooError:
        return "refused"
    best, radius = exact_radii(edited, logits)
    assert torch.equal(certificate.prediction, best), edit.__name__
    assert (certificate.radius <= radius + SAME).all(), (edit.__name__, certificate.radius, radius)
    assert (certificate.radius + certificate.slack >= radius - SAME).all() or not radius.isfinite().all(), edit.__name__
    assert not attacked(function, images, certificate.radius, best), edit.__name__
    return "certified"


@pytest.mark.parametrize("block", slow_but(range(4), range(BLOCKS)))
def test_an_edited_network_is_refused_or_its_certificate_is_true(block):
    found = Counter(outcome(seed) for seed in range(block * EDITS_OF_A_BLOCK, (block + 1) * EDITS_OF_A_BLOCK))
    assert found["refused"] >= 3
    assert found["certified"] >= 1


@pytest.mark.slow
def test_without_its_checks_certify_is_wrong_about_edited_networks(monkeypatch):
    monkeypatch.setattr(LipschitzClassifier, "require_structure", lambda _: None)
    for road in ("sll_zoo.certificates.certification", "sll_zoo.certificates.soundness.frozen"):
        monkeypatch.setattr(f"{road}.require_structure", lambda _: None)
    monkeypatch.setattr("sll_zoo.layers.seal.Sealed.is_intact", lambda _: True)
    violations = 0
    for seed in range(100):
        try:
            outcome(seed)
        except AssertionError:
            violations += 1
        except (RuntimeError, TypeError, AttributeError):  # what the checks would have refused
            pass
    assert violations >= 5
