"""Certificates: for each image, the prediction and the radius within which it is proved not to change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sll_zoo.certificates.soundness import FrozenNetwork, freeze, sound_radius
from sll_zoo.errors import InputError
from sll_zoo.functional.certificate import certified_radius, check_constants
from sll_zoo.functional.norms import Norm, norm_of
from sll_zoo.layers import MeanShift, SortLinear, is_folded
from sll_zoo.layers.folding import fold_what_fits
from sll_zoo.layers.seal import Sealed, require_intact
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.structure import require_structure

# Layers that compute something else in train mode than what is certified.
OTHER_IN_TRAINING = (SortLinear, MeanShift)


@dataclass(frozen=True, eq=False)
class Certificate:
    """The result of :func:`certify`.

    Attributes:
        prediction: The class of each image, (batch,).
        radius: In float64, (batch,): no image in [0, 1] closer than this in ``norm``, in pixels of [0, 1], has another class.
        slack: In float64, (batch,): what was subtracted from the radius for rounding; 0 without ``sound``.
        norm: The norm of radius and slack, that of the network: ``"2"`` or ``"inf"``.
    """

    prediction: Tensor
    radius: Tensor
    slack: Tensor
    norm: Norm


@torch.no_grad()
def certify(model: nn.Module, images: Tensor, sound: bool = False) -> Certificate:
    """Return the largest radius that the network's Lipschitz constants prove for each image, in the norm of these constants.

    The network is evaluated in float64 on its stored weights, whatever the dtype it came in: T, logits and constants alike. To
    certify many batches, fold once: ``certify(sll_zoo.fold(model, torch.float64), images)``; or freeze once, for sound radii.

    Args:
        model: A network with ``pairwise_lipschitz()``, (classes, classes): L[i, j] is the Lipschitz constant of logit i −
            logit j. Those of :func:`~sll_zoo.create_model`, or your own, which is one in L∞ if it says ``norm = "inf"``.
        images: (batch, channels, height, width), float32 or float64, in [0, 1]. Never normalised: the model does that.
        sound: Whether the radius holds for the network as it is executed, with every rounding error, and for every real-valued
            perturbation. The network that is executed is :func:`~sll_zoo.freeze` of ``model``, in float64 unless you froze it
            yourself; the radii of a frozen network are always sound.

    Guarantee: in exact arithmetic on the stored weights; rounding is accounted for at ties only. With ``sound``, in floating
        point: ``slack`` is subtracted from each radius, below 1e-8 in float64 for the networks measured; circular
        convolutions rest on an assumption about Fourier transforms. An image with logits that are not finite has radius 0.

    Raises:
        InputError: A model without constants, in train mode, of half precision, folded in float32, or on several devices; images
            of another shape, dtype or range, NaN included.
        ConfigError: A network of the zoo with a layer of another kind, a hook, a replaced method, or a ``forward`` of its own;
            with ``sound``, a layer whose rounding is not bounded.
        WeightsError: A folded or frozen network that was changed since.
    """
    _require_constants(model)
    _check_model(model)
    check_images(images)
    return certificate_of(evaluation_form(model, sound), images)


@torch.no_grad()
def certificate_of(network: nn.Module, images: Tensor) -> Certificate:
    """Return what :func:`certify` does, for a network of :func:`evaluation_form`: many batches need that only once.

    Raises:
        InputError, ConfigError, WeightsError: As for :func:`certify`.
    """
    return certificate_in_full(network, images, constants_of(network))[0]


@torch.no_grad()
def certificate_in_full(network: nn.Module, images: Tensor, constants: Tensor) -> tuple[Certificate, Tensor]:
    """Return what :func:`certificate_of` does, and the logits (batch, classes), for :func:`constants_of` the network.

    Whether the network is still the one of these constants is not checked.

    Raises:
        InputError: As for :func:`certify`.
    """
    _check_model(network)
    check_images(images)
    images = images.to(constants.device, torch.float64)
    logits: Tensor = network(images)
    if isinstance(network, FrozenNetwork):
        return Certificate(*sound_radius(network, images, logits), network.norm), logits
    check_constants(constants, logits.shape[1])
    prediction, radius = certified_radius(logits, constants)
    return Certificate(prediction, radius, torch.zeros_like(radius), norm_of(network)), logits


@torch.no_grad()
def constants_of(network: Any) -> Tensor:
    """Return the constants (classes, classes), of networks of this package by its own methods: an instance's could be replaced.

    Raises:
        ConfigError, WeightsError: As for :func:`certify`.
    """
    kind = next((kind for kind in (FrozenNetwork, LipschitzClassifier) if isinstance(network, kind)), type(network))
    constants: Tensor = kind.pairwise_lipschitz(network)
    return constants


def evaluation_form(model: nn.Module, sound: bool = False) -> nn.Module:
    """Return the network by which certificates are computed: the frozen model, or the model folded in float64.

    Circular convolutions are not folded if their matrices would take more than 4 GB, nor in networks that are not
    of the zoo, where the sizes of their images are unknown.

    Args:
        model: A network that :func:`certify` accepts, in train mode too; it is not changed.
        sound: Whether to freeze it.

    Raises:
        ConfigError, WeightsError: As for :func:`certify`.
    """
    _require_constants(model)
    # The network's own methods are not used, since they could be replaced. Seals are checked by pairwise_lipschitz.
    if isinstance(model, FrozenNetwork):
        FrozenNetwork.require_structure(model)
    elif isinstance(model, LipschitzClassifier):
        require_structure(model)
    else:  # a network of the user's own: only layers of this package are checked
        require_intact(model)
    if isinstance(model, FrozenNetwork):
        return model
    if not all(part.is_exact for part in model.modules() if isinstance(part, Sealed)):
        raise InputError(
            "a network folded in less than float64, in which T is rounded",
            "certify the network that it was made of, or fold(model, torch.float64)",
        )
    if sound:
        return freeze(model)
    return model if is_folded(model) else fold_what_fits(model)


def _require_constants(model: nn.Module) -> None:
    """Raise InputError for a model without Lipschitz constants."""
    if not callable(getattr(type(model), "pairwise_lipschitz", None)):
        raise InputError(
            f"a {type(model).__name__} has no pairwise_lipschitz()",
            "only networks with proved Lipschitz constants have certificates; of a compiled one, give what was compiled",
        )


def _check_model(model: nn.Module) -> None:
    """Raise InputError for a model that is not ready to be evaluated."""
    if model.training or any(part.training for part in model.modules() if isinstance(part, OTHER_IN_TRAINING)):
        raise InputError("the model is in train mode", "call model.eval() first")
    tensors = [*model.parameters(), *model.buffers()]
    dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point() or tensor.is_complex()}
    if other := dtypes - {torch.float32, torch.float64}:
        raise InputError(f"a model in {other.pop()}", "certify model.float(), and deploy that: half precision rounds too much")
    if len(devices := {str(tensor.device) for tensor in tensors}) > 1:
        raise InputError(f"a model on several devices: {', '.join(sorted(devices))}", "move it to one, as in model.to('cpu')")


def check_images(images: Tensor) -> None:
    """Raise InputError unless ``images`` are (batch, channels, height, width), float32 or float64, within [0, 1]."""
    if not isinstance(images, Tensor):
        raise InputError(f"images are a {type(images).__name__}", "give a torch.Tensor")
    if images.dtype not in (torch.float32, torch.float64):
        remedy = "give float32 or float64, which a Trainer with precision='32-true' leaves as they are"
        if images.dtype == torch.uint8:
            remedy = "divide by 255: images.float() / 255"
        raise InputError(f"images of dtype {images.dtype}", remedy)
    if images.ndim != 4:
        raise InputError(
            f"images of shape {tuple(images.shape)}", "give (batch, channels, height, width); images[None] adds a batch of one"
        )
    check_range(images)


def check_range(images: Tensor) -> None:
    """Raise InputError unless all values are within [0, 1], a check that is cheap enough for every batch, of any dtype."""
    if not images.numel():
        return
    low, high = images.aminmax()
    if low >= 0 and high <= 1:  # false if a value is NaN
        return
    if broken := int(images.isnan().flatten(1).any(1).sum()):
        raise InputError(f"{broken} of {len(images)} images contain NaN", "leave them out")
    raise InputError(
        f"images with values from {low.item()} to {high.item()}",
        "scale them to [0, 1] (divide 0..255 by 255) and do not normalise them: the model does",
    )
