"""Attacks as a test of certificates: no attack may find another class inside an image's certified radius.

An attack gives an upper bound of the accuracy under perturbations, a certificate a lower bound. If the upper bound is below the
lower one, the certificate is wrong.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sll_zoo.certificates.adversaries import Search, autoattack, bisect_to_boundary, guide_of, pgd, project, require_autoattack
from sll_zoo.certificates.certification import certificate_of, check_images, evaluation_form
from sll_zoo.certificates.soundness import FrozenNetwork
from sll_zoo.errors import ConfigError, InputError, is_number, require_integer
from sll_zoo.functional.certificate import RADII_IN, certified_counts, check_labels
from sll_zoo.functional.fast.products import full_precision
from sll_zoo.functional.norms import Norm, diameter, lengths, norm_of

METHODS = ("pgd", "autoattack")
# Fraction of the certified radius within which each image is attacked: a radius that is too large shows there first.
JUST_BELOW = 0.999
# Images with which is tried whether the search may go by gradients in bfloat16.
TRIED = 8


@dataclass(frozen=True, eq=False)
class Attack:
    """The result of :func:`attack`.

    Attributes:
        images: The attacked images, (n, channels, height, width) in float64.
        labels: Their true classes (n,).
        prediction: Their classes by the network (n,).
        radius: Their certified radii (n,), in pixels of [0, 1].
        adversarial: For each image the closest image of another class that was found, in [0, 1], or else the image itself.
        adversarial_prediction: The classes of ``adversarial`` by the network (n,).
        distance: Distance from each image to its adversarial one, in float64 (n,); infinite where none was found.
        eps: The radii of the balls that were searched, in ascending order.
        seconds: Wall time.
        norm: The norm of radii, distances and balls: that of the network.
    """

    images: Tensor
    labels: Tensor
    prediction: Tensor
    radius: Tensor
    adversarial: Tensor
    adversarial_prediction: Tensor
    distance: Tensor
    eps: tuple[float, ...]
    seconds: float
    norm: Norm

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.labels)

    @property
    def clean(self) -> float:
        """Fraction of images classified correctly."""
        return self._fractions(self.distance, [0.0])[0.0]

    @property
    def empirical(self) -> dict[float, float]:
        """For each radius, the fraction of images classified correctly for which none of another class was found within it."""
        return self._fractions(self.distance, self.eps)

    @property
    def certified(self) -> dict[float, float]:
        """For each radius, the fraction of images certified at it: never above ``empirical``, unless a certificate is wrong."""
        return self._fractions(self.radius, self.eps)

    @property
    def violations(self) -> Tensor:
        """Whether an image changed its class strictly inside its certified radius (n,): a single one refutes the certificate."""
        return self.distance < self.radius

    def _fractions(self, radius: Tensor, eps: Sequence[float]) -> dict[float, float]:
        counts = certified_counts(self.prediction, radius, self.labels, eps)
        return dict(zip(eps, (counts.double() / self.n).tolist(), strict=True))


@torch.no_grad()
def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    eps: Sequence[float] | None = None,
    *,
    method: str = "pgd",
    steps: int = 100,
    restarts: int = 5,
    batch_size: int = 256,
    seed: int = 0,
    progress: Callable[[list[Any]], Iterable[Any]] = iter,
) -> Attack:
    """Certify each image, then search for images of another class: just inside its own radius, and in the ball of each ``eps``.

    The first search puts each certificate to the test, right or wrong classes alike. The balls of ``eps`` then show what is left
    of the accuracy, so they are searched around correctly classified images alone, and only where they reach beyond the radius
    that the first search covered. Images that are found are moved towards the original by bisection, as far as the class stays
    different. Searches run in float32, which is several times as fast, and most gradients of PGD are computed in bfloat16 where
    that is faster still; an image counts only if its class is different in float64, in which ``certify`` evaluates the network.

    Args:
        model: A network that :func:`~sll_zoo.certify` accepts; it is not changed.
        images: (n, channels, height, width), float32 or float64, in [0, 1].
        labels: Their classes (n,).
        eps: Radii in pixels of [0, 1], in the network's norm; by default ``RADII_IN`` of this norm.
        method: How the balls of ``eps`` are searched: ``pgd``, or ``autoattack``, which is APGD-CE, APGD-T, FAB-T and Square, and
            needs the extra ``sll-zoo[attack]``. Each image's own radius, which AutoAttack cannot take, is searched by PGD.
        steps: Gradient steps of a run of PGD.
        restarts: Runs of PGD, from random points of the ball.
        batch_size: Images attacked at a time.
        seed: Seed of the random numbers.
        progress: Wraps the list of searches, such as ``rich.progress.track``.

    Returns:
        The result; ``empirical`` is at least ``certified`` at each eps, unless ``violations.any()``.

    Raises:
        ConfigError: No radius, or one that is not positive and finite; ``steps``, ``restarts`` or ``batch_size`` below 1; a
            method that is unknown, or whose package is not installed.
        InputError: No images, images or a model that ``certify`` refuses, or labels that are not its classes.

    Example:
        >>> import sll_zoo
        >>> from sll_zoo.data import Digits
        >>> images, labels = (part[:2] for part in Digits().tensors("test"))
        >>> found = attack(sll_zoo.create_model("sll_nano.digits", pretrained=True), images, labels, [0.1], steps=2, restarts=1)
        >>> bool(found.violations.any()), found.certified[0.1] <= found.empirical[0.1] <= found.clean
        (False, True)
    """
    start = time.perf_counter()
    norm = norm_of(model)
    radii = _checked_radii(RADII_IN[norm] if eps is None else eps)
    _check_counts(steps=steps, restarts=restarts, batch_size=batch_size)
    _require_method(method)
    check_images(images)
    network = evaluation_form(model)
    searched = copy.deepcopy(network.network if isinstance(network, FrozenNetwork) else network).float()
    prediction, radius = _certified(network, images, batch_size)
    images = images.to(radius.device, torch.float64)
    labels = _checked_labels(labels, images, network).to(radius.device)

    guide = guide_of(searched, images[:TRIED].float())
    generator = torch.Generator().manual_seed(seed)
    ascend: Search = partial(pgd, guide=guide, norm=norm, steps=steps, restarts=restarts, generator=generator)
    search = ascend if method == "pgd" else partial(autoattack, norm=norm, seed=seed)
    # An infinite radius (no other class can win) is cut to the diameter of [0, 1]^d: no image is farther away.
    own = (JUST_BELOW * radius).clamp_max(diameter(images.shape[1:], norm))
    correct = prediction == labels
    beyond = [torch.full_like(radius, value).where(correct & (value > own), 0) for value in radii]
    balls = [(ascend, own), *((search, ball) for ball in beyond)]
    searches = [(find, ball, rows) for find, ball in balls for rows in torch.split(ball.nonzero()[:, 0], batch_size)]
    adversarial, new, distance = images.clone(), prediction.clone(), torch.full_like(radius, torch.inf)
    for find, ball, rows in progress(searches):
        todo = rows[distance[rows] > ball[rows]]  # images with nothing found in their ball so far
        if len(todo):
            with full_precision(images.device.type):
                found = find(searched, images[todo].float(), prediction[todo], ball[todo].float()).to(images)
            found = project(found, images[todo], ball[todo], norm)
            found, classes, distances = _verified(network, images[todo], prediction[todo], found, norm)
            closer = distances < distance[todo]
            at = todo[closer]
            adversarial[at], new[at], distance[at] = found[closer], classes[closer], distances[closer]
    return Attack(images, labels, prediction, radius, adversarial, new, distance, radii, time.perf_counter() - start, norm)


def _certified(network: nn.Module, images: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return prediction and radius of all images, (n,) each."""
    certificates = [certificate_of(network, batch) for batch in torch.split(images, batch_size)]
    prediction = torch.cat([certificate.prediction for certificate in certificates])
    return prediction, torch.cat([certificate.radius for certificate in certificates])


def _verified(network: nn.Module, images: Tensor, prediction: Tensor, found: Tensor, norm: Norm) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``found``, points of another class moved back by bisection, with classes and distances, infinite for the rest."""
    broken = network(found).argmax(1) != prediction
    if broken.any():
        found[broken] = bisect_to_boundary(network, images[broken], prediction[broken], found[broken])
    classes = network(found).argmax(1)
    distances = lengths(found - images, norm)
    return found, classes, distances.where(classes != prediction, torch.inf)


def _require_method(method: str) -> None:
    if method not in METHODS:
        raise ConfigError(f"method={method!r}", f"choose one of {', '.join(METHODS)}")
    if method == "autoattack":
        require_autoattack()


def _checked_radii(eps: Sequence[float]) -> tuple[float, ...]:
    radii = tuple(eps) if isinstance(eps, Iterable) else eps
    if not isinstance(radii, tuple) or not radii or not all(is_number(value) and 0 < value < math.inf for value in radii):
        raise ConfigError(f"eps={radii!r}", "give a list of at least one radius, each a positive, finite number")
    return tuple(sorted({float(value) for value in radii}))


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        require_integer(name, count)


def _checked_labels(labels: Tensor, images: Tensor, network: nn.Module) -> Tensor:
    if not len(images):
        raise InputError("no images", "give at least one")
    if labels.shape != images.shape[:1] or labels.is_floating_point():
        raise InputError(f"labels of shape {tuple(labels.shape)} and dtype {labels.dtype}", f"give {len(images)} class indices")
    check_labels(labels, network(images[:1]).shape[1])
    return labels
