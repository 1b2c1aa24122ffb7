"""From logits to certified L2 radii, and from radii to counts.

Reference: Lipschitz-margin certificates, Tsuzuku et al. 2018 (arXiv 1802.04034), with one constant for each pair of classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sll_zoo.errors import InputError

# The radii at which the SLL paper certifies: L2, in pixels of [0, 1].
RADII = (36 / 255, 72 / 255, 108 / 255, 1.0)
# Two equal rows of a head give logits that a matrix product may round apart by a few units in the last place: they are tied.
TIE = 64


def radius_label(eps: float) -> str:
    """Return how the literature writes a radius: ``36/255`` for 0.1412, ``1`` for 1.

    Example:
        >>> [radius_label(eps) for eps in (36 / 255, 1.0, 0.3)]
        ['36/255', '1', '0.3']
    """
    levels = 255 * eps
    return f"{levels:.0f}/255" if eps % 1 and abs(levels - round(levels)) < 1e-9 else f"{eps:.4g}"


def certified_radius(
    logits: Float[Tensor, "batch classes"], pairwise_lipschitz: Float[Tensor, "*pair"]
) -> tuple[Int[Tensor, " batch"], Float[Tensor, " batch"]]:
    """Return each image's predicted class y and ``min over j ≠ y of (f_y − f_j) / L_yj``, the radius in which it cannot change.

    At a distance d from the image, f_y − f_j is at least its value here minus L_yj d, hence positive for d below the radius: the
    ball is open. All classes count, not the runner-up alone, since L differs from pair to pair.

    Args:
        logits: (batch, classes).
        pairwise_lipschitz: L, (classes, classes), or one number for all pairs.

    Returns:
        Prediction (batch,) and radius (batch,), L2 in the units of the input. A tie has radius 0, and so have logits that differ
        by no more than their own rounding, logits that are not finite, and constants that are negative or NaN. Where no other
        class can overtake (L_yj = 0 with a positive margin, or a single class) the radius is infinite.
    """
    prediction = logits.argmax(1)
    margins = logits.gather(1, prediction[:, None]) - logits
    constants = pairwise_lipschitz if pairwise_lipschitz.ndim == 0 else pairwise_lipschitz[prediction]
    rounding = TIE * torch.finfo(logits.dtype).eps * logits.abs().amax(1, keepdim=True)
    ratios = torch.where((margins > rounding) & (constants >= 0), margins / constants, 0.0)
    ratios = ratios.scatter(1, prediction[:, None], torch.inf)
    radius = torch.where(logits.isfinite().all(1), ratios.amin(1), 0.0)
    return prediction, radius


def check_constants(constants: Tensor, classes: int) -> None:
    """Raise InputError unless ``constants`` are one nonnegative number, or a nonnegative matrix (classes, classes)."""
    if constants.shape not in ((), (classes, classes)) or not bool((constants >= 0).all()):
        raise InputError(
            f"pairwise_lipschitz of shape {tuple(constants.shape)}, smallest value {constants.min().item():.4g}",
            f"give a nonnegative number or a matrix ({classes}, {classes}), for example model.pairwise_lipschitz()",
        )


def certified_counts(
    prediction: Int[Tensor, " batch"],
    radius: Float[Tensor, " batch"],
    target: Int[Tensor, " batch"],
    radii: Sequence[float],
) -> Int[Tensor, " radii"]:
    """Return, for each of ``radii``, how many images are classified correctly throughout the closed ball of that radius.

    That is: prediction = target and radius > eps. At eps = 0 the ball is the image itself, and being correct is enough (a tie
    counts as the class that argmax names), so that the count is clean accuracy's.
    """
    correct = prediction == target
    return torch.stack([(correct & (radius > eps)).sum() if eps > 0 else correct.sum() for eps in radii])
