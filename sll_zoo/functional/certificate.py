"""From logits to certified radii, in the norm of the Lipschitz constants, and from radii to counts.

Reference: Lipschitz-margin certificates, Tsuzuku et al. 2018 (arXiv 1802.04034), with one constant for each pair of classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sll_zoo.compat import graph_is_captured
from sll_zoo.errors import InputError
from sll_zoo.functional.norms import Norm

# The radii at which the literature certifies, in pixels of [0, 1]: those of the SLL paper in L2; in L∞ those for CIFAR, and those
# for MNIST.
RADII_IN: dict[Norm, tuple[float, ...]] = {
    "2": (36 / 255, 72 / 255, 108 / 255, 1.0),
    "inf": (2 / 255, 8 / 255, 0.1, 0.2, 0.3),
}
# Logits that differ by less than TIE units of rounding count as tied: a matrix product may give two equal rows of a head logits
# that differ by a few units in the last place.
TIE = 64
# Margins (images times classes) compared at a time: half a MB in float64, which fits a processor's cache.
PIECE = 2**16
# Tolerance for the symmetry of L, relative to its largest entry: L may come from a formula evaluated in float32.
ASYMMETRY = 1e-6


def radius_label(eps: float) -> str:
    """Return how the literature writes a radius: ``36/255`` for 0.1412, ``1`` for 1, and ``0.2`` for 0.2, which is 51/255.

    Example:
        >>> [radius_label(eps) for eps in (36 / 255, 1.0, 0.2)]
        ['36/255', '1', '0.2']
    """
    levels, tenths = 255 * eps, 10 * eps
    return f"{levels:.0f}/255" if tenths % 1 and abs(levels - round(levels)) < 1e-9 else f"{eps:.4g}"


def certified_radius(
    logits: Float[Tensor, "batch classes"], pairwise_lipschitz: Float[Tensor, "*pair"]
) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Return each image's predicted class y and ``min over j ≠ y of (f_y − f_j) / L_yj``, the radius within which y is kept.

    At a distance d from the image, f_y − f_j is at least its value at the image minus L_yj d, so it is positive for d below the
    radius: the ball is open. All classes are compared, not the runner-up alone, since L differs from pair to pair.

    Args:
        logits: (batch, classes).
        pairwise_lipschitz: L, (classes, classes), or one number for all pairs.

    Returns:
        Prediction (batch,) and radius (batch,), in float64, in the units of the input. A tie has radius 0, and so have logits
        that differ by no more than their own rounding, logits that are not finite, and constants that are negative or NaN. Where
        no other class can overtake (L_yj = 0 with a positive margin, or a single class) the radius is infinite.

    Images are processed in pieces, so that no memory beside the logits and L grows with batch × classes.
    """
    classes = logits.shape[1]
    constants = _between_classes(pairwise_lipschitz, logits)
    # An exported graph cannot hold a loop whose length depends on the batch.
    if graph_is_captured():
        return _certified_radius(logits, constants)
    # Results are written in place: a list of them would fragment the memory that each piece frees, so that it is not used again.
    prediction = torch.empty_like(logits[:, 0], dtype=torch.int64)
    radius = torch.empty_like(prediction, dtype=torch.float64)
    images = max(1, PIECE // classes)
    for start in range(0, len(logits), images):
        piece = slice(start, start + images)
        prediction[piece], radius[piece] = _certified_radius(logits[piece], constants)
    return prediction, radius


def limiting_class(logits: Float[Tensor, "batch classes"], pairwise_lipschitz: Float[Tensor, "*pair"]) -> Int[Tensor, " batch"]:
    """Return the class that limits each image's radius (batch,): the j of the minimum in :func:`certified_radius`.

    Args:
        logits: (batch, classes), of at least two classes.
        pairwise_lipschitz: As for :func:`certified_radius`.
    """
    _, ratios, _ = _ratios(logits, _between_classes(pairwise_lipschitz, logits))
    return ratios.argmin(1)


def _between_classes(pairwise_lipschitz: Tensor, logits: Tensor) -> Tensor:
    """Return the constants as a matrix in float64.

    A negative or NaN constant proves nothing: its ratio becomes 0. The predicted class never competes: its margin is infinite.
    """
    classes = logits.shape[1]
    constants = torch.where(pairwise_lipschitz >= 0, pairwise_lipschitz, torch.inf).double().expand(classes, classes)
    return torch.where(torch.eye(classes, dtype=torch.bool, device=logits.device), 1.0, constants)


def _certified_radius(logits: Tensor, constants: Tensor) -> tuple[Tensor, Tensor]:
    prediction, ratios, size = _ratios(logits, constants)
    return prediction, torch.where(size.isfinite(), ratios.amin(1), 0.0)


def _ratios(logits: Tensor, constants: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return prediction (batch,), margin by constant (batch, classes), and largest magnitude of the logits (batch,)."""
    size = largest_magnitude(logits)
    prediction = logits.argmax(1, keepdim=True)
    margins = logits.gather(1, prediction).double() - logits.scatter(1, prediction, -torch.inf)
    rounding = TIE * torch.finfo(logits.dtype).eps * size[:, None].double()
    ratios = torch.where(margins > rounding, margins / constants[prediction.squeeze(1)], 0.0)
    return prediction.squeeze(1), ratios, size


def largest_magnitude(logits: Float[Tensor, "batch classes"]) -> Float[Tensor, " batch"]:
    """Return max over j of |f_j| for each image, NaN or infinite where a logit is, without a copy of the logits."""
    return torch.maximum(logits.amax(1), -logits.amin(1))


def check_constants(constants: Tensor, classes: int) -> None:
    """Raise InputError unless ``constants`` are one number or a symmetric matrix (classes, classes), nonnegative and finite."""
    problem = ""
    if constants.shape not in ((), (classes, classes)):
        problem = f" for {classes} classes"
    elif not bool((constants.isfinite() & (constants >= 0)).all()):
        problem = f" with values from {constants.amin().item():.4g} to {constants.amax().item():.4g}"
    elif constants.ndim and (constants - constants.mT).abs().amax() > ASYMMETRY * constants.amax():
        problem = " that is not symmetric"
    if problem:
        raise InputError(
            f"pairwise_lipschitz of shape {tuple(constants.shape)}{problem}",
            f"give a number or a symmetric matrix ({classes}, {classes}), finite and not negative, such as "
            "model.pairwise_lipschitz()",
        )


def check_labels(labels: Tensor, classes: int) -> None:
    """Raise InputError unless all labels are at least 0 and below ``classes``."""
    if not len(labels):
        return
    low, high = labels.aminmax()
    if low < 0 or high >= classes:
        raise InputError(f"labels from {low} to {high}", f"give classes of the network, 0 to {classes - 1}")


def certified_at(
    correct: Bool[Tensor, " batch"], radius: Float[Tensor, " batch"], radii: Sequence[float]
) -> Bool[Tensor, "batch radii"]:
    """Return whether each image is classified correctly throughout the closed ball of each of ``radii``.

    That is: correct and radius > eps. At eps = 0 the ball is the image itself, and being correct is enough (a tie counts as the
    class that argmax names), so that the fraction at 0 is clean accuracy.
    """
    return torch.stack([correct & (radius > eps) if eps > 0 else correct for eps in radii], 1)


def certified_counts(
    prediction: Int[Tensor, " batch"],
    radius: Float[Tensor, " batch"],
    target: Int[Tensor, " batch"],
    radii: Sequence[float],
) -> Int[Tensor, " radii"]:
    """Return, for each of ``radii``, how many images are :func:`certified_at` it."""
    return certified_at(prediction == target, radius, radii).sum(0)
