"""Explanations of single images: the gradient of the margin, and the image of another class to which it leads.

In a network of which the gradient is as long as its Lipschitz constant, minus the gradient of the margin is the way on which the
class changes soonest, so that one direction is saliency, counterfactual and attack at once.

Reference: Serrurier et al., "On the explainable properties of 1-Lipschitz Neural Networks: An Optimal Transport Perspective",
NeurIPS 2023 (arXiv 2206.06854).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sll_zoo.certificates.adversaries import bisect_to_boundary
from sll_zoo.certificates.attacking import attack
from sll_zoo.certificates.certification import certificate_of, evaluation_form
from sll_zoo.errors import InputError
from sll_zoo.functional.norms import diameter, lengths, norm_of

# Steps on a ray are at least this share of the diagonal of [0, 1]: a change of the class that is taken back sooner can be missed.
SHORTEST = 1e-3
# PGD searches balls, each so many times as large as the one before, up to the diagonal of [0, 1]. Measured on 24 digits: with
# growth 1.25 and 5 restarts of 100 steps it ends 3 % farther away, in nine times the time.
GROWTH, BALLS = 1.1, 80
STEPS, RESTARTS = 20, 1
# Pixels whose gradient is below this share of the largest one stay where they are: they move when t has no use any more.
SLOWEST = 1e-150
# Stands in for a constant of 0, with which no margin shrinks.
TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Explanation:
    """The result of :func:`explain`, in float64; lengths are L2 in pixels of [0, 1].

    ``radius`` is at most ``counterfactual_distance`` and ``adversarial_distance``: the first is proved, the others are
    found. The distance to the nearest image of another class is in between.

    Attributes:
        images: (n, channels, height, width).
        prediction: The class y of each image (n,).
        target: The class j with which it is compared (n,).
        margin: f_y − f_j (n,).
        gradient: The gradient of f_y − f_j, (n, channels, height, width).
        constant: L_yj, the proved Lipschitz constant of f_y − f_j (n,): the gradient is nowhere longer.
        radius: The certified radius (n,).
        t: Smallest t for which x − t · gradient, clipped to [0, 1], has another class (n,); infinite where none was found
            before all pixels that the gradient moves were at 0 or 1.
        counterfactual: That image, (n, channels, height, width), or the image itself where none was found.
        counterfactual_prediction: Its class (n,).
        counterfactual_distance: Its distance (n,); infinite where none was found.
        adversarial: The closest image of another class that PGD found, or the image itself.
        adversarial_prediction: Its class (n,).
        adversarial_distance: Its distance (n,); infinite where none was found.
    """

    images: Tensor
    prediction: Tensor
    target: Tensor
    margin: Tensor
    gradient: Tensor
    constant: Tensor
    radius: Tensor
    t: Tensor
    counterfactual: Tensor
    counterfactual_prediction: Tensor
    counterfactual_distance: Tensor
    adversarial: Tensor
    adversarial_prediction: Tensor
    adversarial_distance: Tensor

    @property
    def gradient_norm(self) -> Tensor:
        """Length of the gradient (n,)."""
        return lengths(self.gradient, "2")

    @property
    def tightness(self) -> Tensor:
        """Length of the gradient / L_yj (n,), at most 1: how steep the margin is, beside how steep it is allowed to be."""
        return self.gradient_norm / self.constant


@torch.no_grad()
def explain(model: nn.Module, images: Tensor, target: int | Tensor | None = None) -> Explanation:
    """Compare each image's class y with another one, j: the gradient of f_y − f_j, and the first other class against it.

    On the ray x − t · gradient, clipped to [0, 1], the search steps by the certified radius of the point that it has reached, and
    by at least a thousandth of the diagonal of [0, 1], until the class, which need not be j then, is another one, or every pixel
    that the gradient moves is at 0 or 1; bisection finds where it changed. PGD searches in all directions.

    Args:
        model: A network that :func:`~sll_zoo.certify` accepts; it is not changed.
        images: (n, channels, height, width), float32 or float64, in [0, 1].
        target: j, for all images or (n,), never the predicted class; by default the class with the smallest (f_y − f_j) / L_yj,
            by which the certified radius is limited.

    Guarantee: ``radius`` as for ``certify``; classes and distances are those of the images returned. Nothing is proved of the
        saliency, nor that there is no closer image of another class.

    Raises:
        InputError: Images or a model that ``certify`` refuses, no images, a network with a single class, or a ``target`` that is
            not another one of its classes; a network with certificates in another norm than L2.
        ConfigError, WeightsError: As for ``certify``.

    Example:
        >>> import sll_zoo
        >>> from sll_zoo.data import Digits
        >>> images, _ = Digits().tensors("test")
        >>> found = explain(sll_zoo.create_model("sll_nano.digits", pretrained=True), images[:2])
        >>> bool((found.radius <= found.counterfactual_distance).all()), bool((found.tightness <= 1).all())
        (True, True)

    Source: the paper above, which has t = f/‖∇f‖² in theory; here the network is asked where its class changes.
    """
    if norm_of(model) != "2":
        raise InputError(f"a network with certificates in the norm {norm_of(model)!r}", "lengths of explanations are in L2")
    network: Any = evaluation_form(model)
    certificate = certificate_of(network, images)
    prediction = certificate.prediction
    images = images.to(prediction.device, torch.float64)
    if not len(images):
        raise InputError("no images", "give at least one")
    margins, constants = _margins_and_constants(network, images, prediction)
    j = (margins / constants.clamp_min(TINY)).argmin(1) if target is None else _checked(target, prediction, margins.shape[1])
    gradient = _gradient(network, images, prediction, j)
    t = _change_on_ray(network, images, prediction, gradient, certificate.radius)
    counterfactual = _on_ray(images, gradient, t)
    found = attack(network, images, prediction, _balls(images), steps=STEPS, restarts=RESTARTS)
    return Explanation(
        images=images,
        prediction=prediction,
        target=j,
        margin=margins.gather(1, j[:, None])[:, 0],
        gradient=gradient,
        constant=constants.gather(1, j[:, None])[:, 0],
        radius=certificate.radius,
        t=t,
        counterfactual=counterfactual,
        counterfactual_prediction=network(counterfactual).argmax(1),
        counterfactual_distance=lengths(counterfactual - images, "2").where(t.isfinite(), torch.inf),
        adversarial=found.adversarial,
        adversarial_prediction=found.adversarial_prediction,
        adversarial_distance=found.distance,
    )


def _margins_and_constants(network: Any, images: Tensor, prediction: Tensor) -> tuple[Tensor, Tensor]:
    """Return f_y − f_j and L_yj for all classes j, (n, classes) each; for y itself the margin is infinite."""
    logits: Tensor = network(images).double()
    classes = logits.shape[1]
    if classes < 2:
        raise InputError("a network with a single class", "explanations compare two classes")
    margins = logits.gather(1, prediction[:, None]) - logits.scatter(1, prediction[:, None], -torch.inf)
    return margins, network.pairwise_lipschitz().double().expand(classes, classes)[prediction]


def _checked(target: int | Tensor, prediction: Tensor, classes: int) -> Tensor:
    """Return the class j of each image (n,)."""
    if not isinstance(target, int | float | Tensor):
        raise InputError(f"target={target!r}", "give a class, or a tensor of one for each image")
    j = torch.as_tensor(target, device=prediction.device)
    if j.is_floating_point() or j.dtype == torch.bool or j.shape not in ((), prediction.shape):
        raise InputError(f"target of shape {tuple(j.shape)} and dtype {j.dtype}", f"give a class, or {len(prediction)} of them")
    if not 0 <= j.min() <= j.max() < classes:
        raise InputError(f"target from {j.min()} to {j.max()}", f"give classes of the network, 0..{classes - 1}")
    j = j.long().expand_as(prediction)
    if len(same := (j == prediction).nonzero()):
        raise InputError(f"target {j[same[0, 0]]} is the class of image {same[0, 0]}", "give a class to compare it with")
    return j


def _gradient(network: nn.Module, images: Tensor, prediction: Tensor, j: Tensor) -> Tensor:
    """Return the gradient of f_y − f_j at each image."""
    with torch.enable_grad():
        x = images.detach().requires_grad_()
        logits = network(x)
        margin = logits.gather(1, prediction[:, None]) - logits.gather(1, j[:, None])
        (gradient,) = torch.autograd.grad(margin.sum(), x)
    return gradient.double()


def _change_on_ray(network: nn.Module, images: Tensor, prediction: Tensor, gradient: Tensor, radius: Tensor) -> Tensor:
    """Return t at which each image's class changes first on its ray, (n,); infinite where it does not."""
    t, step, shortest = torch.zeros_like(radius), radius.clone(), SHORTEST * diameter(images.shape[1:], "2")
    changes = torch.full_like(radius, torch.inf)
    todo = lengths(gradient, "2").nonzero()[:, 0]
    while len(todo):
        x, slope, y, before = images[todo], gradient[todo], prediction[todo], t[todo]
        time, ended = _time_to_move(_on_ray(x, slope, before), slope, step[todo].clamp_min(shortest))
        after = before + time
        certificate = certificate_of(network, _on_ray(x, slope, after))
        changed = certificate.prediction != y
        if changed.any():
            ends = before[changed], after[changed]
            changes[todo[changed]] = _bisected(network, x[changed], y[changed], slope[changed], *ends)
        t[todo], step[todo] = after, certificate.radius
        todo = todo[~changed & ~ended]
    return changes


def _time_to_move(points: Tensor, gradient: Tensor, distance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the time in which points that move against the gradient, within [0, 1], come as far as ``distance``, (n,).

    The second result says which points end before: then all pixels that move are at 0 or 1, and the time is that of the last.
    """
    largest = gradient.flatten(1).abs().amax(1, keepdim=True)
    speed = gradient.flatten(1) / largest
    room = torch.where(speed > 0, points.flatten(1), 1 - points.flatten(1)).where(speed.abs() > SLOWEST, 0)
    # Pixels stop one after another: before the k-th stop, the square of the distance is that of those that stopped, and
    # time² · the sum of speed² of the others.
    stops, order = (room / speed.abs().clamp_min(SLOWEST)).sort(1)
    squares, rooms = speed.square().gather(1, order), room.square().gather(1, order)
    moving, stopped = squares.flip(1).cumsum(1).flip(1), rooms.cumsum(1) - rooms
    reached = stopped + stops.square() * moving >= distance.square()[:, None]
    first = reached.to(torch.int8).argmax(1, keepdim=True)
    left = (distance.square()[:, None] - stopped.gather(1, first)).clamp_min(0) / moving.gather(1, first).clamp_min(TINY)
    time = torch.where(reached.any(1), left.sqrt()[:, 0], stops[:, -1])
    return time / largest[:, 0], ~reached.any(1)


def _bisected(network: nn.Module, images: Tensor, prediction: Tensor, gradient: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """Return t on each ray, between ``near`` and ``far``, at which the class is just another one."""

    def along(share: Tensor) -> Tensor:
        logits: Tensor = network(_on_ray(images, gradient, near + share[:, 0] * (far - near)))
        return logits

    zeros = torch.zeros_like(near)[:, None]
    return near + bisect_to_boundary(along, zeros, prediction, zeros + 1)[:, 0] * (far - near)


def _on_ray(images: Tensor, gradient: Tensor, t: Tensor) -> Tensor:
    """Return the images moved by t against the gradient, clipped to [0, 1]; where t is infinite, the images."""
    return (images - t.where(t.isfinite(), 0)[:, None, None, None] * gradient).clamp(0, 1)


def _balls(images: Tensor) -> list[float]:
    """Return the radii of the balls that PGD searches."""
    return [diameter(images.shape[1:], "2") / GROWTH**place for place in range(BALLS)]
