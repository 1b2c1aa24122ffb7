"""Certificates: for each image, the prediction and the L2 radius within which it is proved not to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sll_zoo.errors import InputError
from sll_zoo.functional.certificate import certified_radius, check_constants
from sll_zoo.layers import fold, is_folded


@dataclass(frozen=True, eq=False)
class Certificate:
    """What :func:`certify` proves.

    Attributes:
        prediction: The class of each image, (batch,).
        radius: In float64, (batch,): no image in [0, 1] closer than this in L2, in pixels of [0, 1], has another class.
    """

    prediction: Tensor
    radius: Tensor


@torch.no_grad()
def certify(model: nn.Module, images: Tensor) -> Certificate:
    """Return the largest L2 radius that the network's Lipschitz constants prove for each image.

    The network is evaluated in float64 on its stored weights, whatever the dtype it came in: T, logits and constants alike. To
    certify many batches, fold once: ``certify(sll_zoo.fold(model), images)`` does no rescaling.

    Args:
        model: A network with ``pairwise_lipschitz()``, (classes, classes): L[i, j] is the Lipschitz constant in L2 of logit i −
            logit j. Those of :func:`~sll_zoo.create_model`, or your own.
        images: (batch, channels, height, width), float32 or float64, in [0, 1]. Never normalised: the model does that.

    Guarantee: in exact arithmetic on the stored weights. Rounding in float64, of the order of 1e-14 for weights of ordinary
        size, is accounted for at ties only. An image on which the logits are not finite has radius 0.

    Raises:
        InputError: A model without constants, or images of another shape, dtype or range, NaN included.
    """
    if not callable(getattr(model, "pairwise_lipschitz", None)):
        raise InputError(
            f"a {type(model).__name__} has no pairwise_lipschitz()",
            "only networks with proved Lipschitz constants have certificates",
        )
    check_images(images)
    frozen: Any = model if is_folded(model) else fold(model)
    constants: Tensor = frozen.pairwise_lipschitz()
    logits = frozen(images.to(constants.device, torch.float64))
    check_constants(constants, logits.shape[1])
    return Certificate(*certified_radius(logits, constants))


def check_images(images: Tensor) -> None:
    """Raise InputError unless ``images`` are (batch, channels, height, width), float32 or float64, within [0, 1]."""
    if not isinstance(images, Tensor):
        raise InputError(f"images are a {type(images).__name__}", "give a torch.Tensor")
    if images.dtype not in (torch.float32, torch.float64):
        remedy = "divide by 255: images.float() / 255" if images.dtype == torch.uint8 else "give float32 or float64"
        raise InputError(f"images of dtype {images.dtype}", remedy)
    if images.ndim != 4:
        raise InputError(
            f"images of shape {tuple(images.shape)}", "give (batch, channels, height, width); images[None] adds a batch of one"
        )
    if images.isnan().any():
        raise InputError(f"{int(images.isnan().flatten(1).any(1).sum())} of {len(images)} images contain NaN", "leave them out")
    if images.numel() and not (images.min() >= 0 and images.max() <= 1):
        raise InputError(
            f"images with values from {images.min().item()} to {images.max().item()}",
            "scale them to [0, 1] (divide 0..255 by 255) and do not normalise them: the model does",
        )
