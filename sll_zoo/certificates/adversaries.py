"""Searches for images of another class in balls around images, in L2 or L∞: projected gradient ascent, and AutoAttack.

A search takes a network, images, their classes and the radius of each ball. It returns one point of each ball, of another class
if it found one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from sll_zoo.compat import multiplies_bfloat16
from sll_zoo.errors import ConfigError
from sll_zoo.functional.norms import Norm, lengths, norm_label

Search = Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor]

# Fraction of the radius that is searched: rounding of image + perturbation (1e-16 a pixel) must not lead out of the ball.
INSIDE = 1 - 1e-9
# Length of a run's first step in radii of the ball; the length falls linearly to 0. Measured: of 120 digits at eps = 1, a run of
# 20 steps left 22 correct with first step 0.3, and 20 with 1 or 2.
STEP = 1.0
# The share of a run's steps, its first, that go by gradients in bfloat16; the last ones, which are short, go by exact ones.
ROUGH = 0.9
# The least cosine, a median of images, between gradients in bfloat16 and exact ones. Measured: 0.97 and more for all networks
# shipped. It may be low for an image of which two other classes are equally strong: either direction will do.
ALIKE = 0.9
# Number of target classes of AutoAttack's targeted attacks (Croce and Hein 2020, section 5); all others if there are fewer.
TARGETS = 9
# Fewest classes for AutoAttack's targeted loss, which needs the third and fourth largest logit (equation 5 there).
FEWEST_CLASSES = 4
# Smallest edge of an image for Square Attack, whose first square is a fifth of it.
SMALLEST_SIDE = 5
# Bisections between an image and an adversarial point: they end within a millionth of the way, far above float64 rounding.
HALVINGS = 20


def pgd(
    network: nn.Module,
    images: Tensor,
    prediction: Tensor,
    eps: Tensor,
    *,
    guide: nn.Module,
    norm: Norm,
    steps: int,
    restarts: int,
    generator: torch.Generator,
) -> Tensor:
    """Search by projected gradient steps that raise the margin of the strongest other class, from random points of each ball.

    A step goes along the gradient in L2, and by the sign of each of its entries in L∞: as far as the norm lets the margin grow.

    Source: Madry et al. 2018 (arXiv 1706.06083), with the margin of Carlini and Wagner 2017 (arXiv 1608.04644) for a loss.

    Args:
        network: The network, in the dtype of the images.
        images: (batch, channels, height, width) in [0, 1].
        prediction: The class of each image, (batch,).
        eps: Radius of the ball around each image, (batch,), positive and finite.
        guide: A faster network with nearly the same gradients, as :func:`guide_of` gives, for most steps; or ``network`` itself.
            What is of another class, ``network`` alone decides.
        norm: Norm of the balls.
        steps: Gradient steps of a run.
        restarts: Number of runs; each starts at new random points, for the images that no earlier run broke.
        generator: Generator of the random points, on the CPU.

    Returns:
        One point of each ball, in [0, 1]: of another class where one was found.
    """
    found, todo = images.clone(), torch.arange(len(images), device=images.device)
    for _ in range(restarts):
        middle, radius = images[todo], eps[todo]
        start = project(middle + _random_points(middle, radius, norm, generator), middle, radius, norm)
        found[todo] = _ascend(network, guide, start, middle, prediction[todo], radius, norm, steps)
        todo = todo[network(found[todo]).argmax(1) == prediction[todo]]
        if not len(todo):
            break
    return found


class _InBFloat16(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).bfloat16().to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits in the dtype of ``x``."""
        logits: Tensor = self.network(x.to(torch.bfloat16, memory_format=torch.channels_last))
        return logits.to(x.dtype)


def guide_of(network: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy of a network in bfloat16 if its device is made for that and its gradients stay what they are, or else itself.

    Args:
        network: The network, in float32.
        images: A few images to try it with, (batch, channels, height, width).
    """
    if not multiplies_bfloat16(images.device):
        return network
    prediction = network(images).argmax(1)
    _, exact = _margin_and_direction(network, images, prediction, "2")
    try:
        guide = _InBFloat16(network)
        _, ours = _margin_and_direction(guide, images, prediction, "2")
    except Exception:  # noqa: BLE001 - a user's network may fail in bfloat16 in any way, and the search needs no guide
        return network
    return guide if torch.linalg.vecdot(ours.flatten(1), exact.flatten(1)).median() > ALIKE else network


def autoattack(network: nn.Module, images: Tensor, prediction: Tensor, eps: Tensor, *, norm: Norm, seed: int) -> Tensor:
    """Run the standard version of AutoAttack: APGD-CE, targeted APGD and FAB, and Square, each on images not yet broken.

    Source: Croce and Hein 2020 (arXiv 2003.01690).

    Args:
        network: The network, in the dtype of the images.
        images: (batch, channels, height, width) in [0, 1].
        prediction: The class of each image, (batch,).
        eps: Radius of the balls, (batch,), the same for all images: AutoAttack takes one radius only.
        norm: Norm of the balls.
        seed: Seed of AutoAttack's random numbers.

    Raises:
        ConfigError: Fewer classes, or smaller images, than AutoAttack can deal with.
    """
    from pyautoattack import AutoAttack

    classes = network(images[:1]).shape[1]
    if classes < FEWEST_CLASSES or min(images.shape[2:]) < SMALLEST_SIDE:
        raise ConfigError(
            f"AutoAttack on {classes} classes and images of {images.shape[2]} x {images.shape[3]}",
            f"it needs {FEWEST_CLASSES} classes and {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels; use method='pgd'",
        )

    def single(x: Tensor) -> Tensor:
        logits: Tensor = network(x.to(images.dtype))
        return logits.to(x.dtype)

    attack = AutoAttack(single, norm=norm_label(norm), eps=eps.max().item(), seed=seed, device=images.device)
    attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(TARGETS, classes - 1)
    devices = [images.device] if images.is_cuda else []
    with torch.random.fork_rng(devices):  # AutoAttack seeds torch's global generator
        found: Tensor = attack.run_standard_evaluation(images.float(), prediction, batch_size=len(images))[0]
    return found.to(images.dtype)


def require_autoattack() -> None:
    """Raise ConfigError unless the package with AutoAttack is installed."""
    if find_spec("pyautoattack") is None:
        raise ConfigError(
            "method='autoattack' needs the package pyautoattack", "run: pip install pyautoattack (or 'sll-zoo[attack]')"
        )


def bisect_to_boundary(network: Callable[[Tensor], Tensor], images: Tensor, prediction: Tensor, found: Tensor) -> Tensor:
    """Return points of another class between the images and ``found``, by bisection, close to where the class changes.

    Args:
        network: The network, in the dtype of the images, or any function of points in [0, 1] that returns logits.
        images: (batch, channels, height, width).
        prediction: The class of each image, (batch,).
        found: Points of another class, one for each image.
    """
    near, far = torch.zeros_like(found), found - images
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        changed = _each(network(images + middle).argmax(1) != prediction, images)
        near, far = torch.where(changed, near, middle), torch.where(changed, middle, far)
    return (images + far).clamp(0, 1)


def _ascend(
    network: nn.Module,
    guide: nn.Module,
    start: Tensor,
    images: Tensor,
    prediction: Tensor,
    eps: Tensor,
    norm: Norm,
    steps: int,
) -> Tensor:
    """Return the points that one run reaches: one seen to be of another class, at which it stops, or its last one."""
    reached, running = start, torch.arange(len(images), device=images.device)
    for step in range(steps):
        is_rough = step < int(ROUGH * steps) and guide is not network
        margin, direction = _margin_and_direction(guide if is_rough else network, reached[running], prediction[running], norm)
        unbroken = margin <= 0
        if is_rough and not unbroken.all():
            doubtful = running[~unbroken]
            unbroken[~unbroken] = network(reached[doubtful]).argmax(1) == prediction[doubtful]
        running, direction = running[unbroken], direction[unbroken]
        if not len(running):
            break
        length = STEP * (1 - step / steps) * _each(eps[running], images)
        reached[running] = project(reached[running] + length * direction, images[running], eps[running], norm)
    return reached


def _margin_and_direction(network: nn.Module, x: Tensor, prediction: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """Return the strongest other logit minus the predicted one, (batch,), and the vector of norm 1 along which it grows most."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        logits = network(x)
        own = logits.gather(1, prediction[:, None])[:, 0]
        margin = logits.scatter(1, prediction[:, None], -torch.inf).amax(1) - own
        (gradient,) = torch.autograd.grad(margin.sum(), x)
    tiny = torch.finfo(x.dtype).tiny
    direction = gradient / _each(lengths(gradient, norm), x).clamp_min(tiny) if norm == "2" else gradient.sign()
    return margin.detach(), direction.nan_to_num(0, 0, 0)  # a gradient that is not finite gives no direction: 0


def _random_points(images: Tensor, eps: Tensor, norm: Norm, generator: torch.Generator) -> Tensor:
    """Return perturbations that are uniformly distributed in the balls."""
    if norm == "inf":
        cube = 2 * torch.rand(images.shape, dtype=images.dtype, generator=generator).to(images.device) - 1
        return _each(eps, images) * cube
    direction = torch.randn(images.shape, dtype=images.dtype, generator=generator).to(images.device)
    share = torch.rand(len(images), dtype=images.dtype, generator=generator).to(images.device) ** (1 / images[0].numel())
    return direction / _each(lengths(direction, norm) / (share * eps), images)


def project(x: Tensor, images: Tensor, eps: Tensor, norm: Norm) -> Tensor:
    """Return the points moved into the ball around each image, by scaling in L2 and clamping in L∞, and clamped to [0, 1].

    Args:
        x: Any points, one for each image.
        images: (batch, channels, height, width) in [0, 1].
        eps: Radius of the ball around each image, (batch,).
        norm: Norm of the balls.
    """
    delta = x - images
    if norm == "inf":
        most = _each(INSIDE * eps, images)
        return (images + delta.clamp(-most, most)).clamp(0, 1)
    scale = (INSIDE * eps / lengths(delta, norm).clamp_min(torch.finfo(x.dtype).tiny)).clamp_max(1)
    return (images + _each(scale, images) * delta).clamp(0, 1)


def _each(values: Tensor, images: Tensor) -> Tensor:
    """Return one value for each image in a shape that broadcasts over its pixels."""
    return values.view(-1, *(1,) * (images.ndim - 1))
