"""Radii that hold for the network as it is executed, from its computed logits."""

from __future__ import annotations

import torch
from torch import Tensor

from sll_zoo.certificates.soundness.frozen import FrozenNetwork
from sll_zoo.functional.certificate import certified_radius
from sll_zoo.functional.norms import diameter

# Factor that rounds a radius down: it covers the rounding of the few float64 operations below.
ROUND_DOWN = 1 - 1e-13


def sound_radius(network: FrozenNetwork, images: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return prediction, radius and slack (batch,) of images, for every real-valued perturbation and every rounding.

    Args:
        network: The network that was executed.
        images: (batch, channels, height, width) in float64, on the device of the network.
        logits: Its result for the images, (batch, classes).

    Returns:
        The predicted class; the radius in float64, in pixels of [0, 1], rounded down, and 0 where rounding leaves nothing; and
        what was subtracted from the radius of exact arithmetic. No radius exceeds the diameter of [0, 1]^d.
    """
    logits, constants = logits.double(), network.pairwise_lipschitz()
    prediction, plain = certified_radius(logits, constants)
    plain = plain.clamp_max(diameter(images.shape[1:], network.norm))
    features, logit = network.errors(images, plain)
    margins = logits.gather(1, prediction[:, None]) - logits
    # The error of a logit counts four times: for two logits, at the image and at the perturbed image.
    left = (ROUND_DOWN * margins - 4 * logit[:, None]) / constants[prediction]
    left = torch.where(margins > 4 * logit[:, None] / ROUND_DOWN, left, 0.0).scatter(1, prediction[:, None], torch.inf)
    radius = (ROUND_DOWN * left.amin(1) - 2 * features).clamp_min(0).minimum(plain)
    radius = torch.where(plain > 0, radius, 0.0).nan_to_num(0.0)
    return prediction, radius, plain - radius
