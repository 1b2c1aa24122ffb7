"""Evaluation of a network on a data set: clean and certified accuracy, and the radius of each image."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sll_zoo.certificates.certification import certificate_in_full, constants_of, evaluation_form
from sll_zoo.certificates.soundness import FrozenNetwork
from sll_zoo.errors import InputError, WeightsError
from sll_zoo.functional.certificate import RADII_IN, certified_counts, limiting_class
from sll_zoo.functional.norms import Norm, norm_of


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of :func:`evaluate`, for each of n images and in numbers of images.

    Attributes:
        label: Class (n,).
        prediction: Predicted class (n,).
        rival: The class that limits the radius (n,), in exact arithmetic: no other could be reached as soon.
        proved: In float64 (n,): the radius, in pixels of [0, 1], within which the prediction, right or wrong, cannot change.
        slack: In float64 (n,): what was subtracted from the radius for rounding; 0 unless ``sound``.
        counts: For each radius in pixels of [0, 1], how many images are classified correctly throughout that ball.
        sound: Whether the radii account for rounding.
        seconds: Wall time of the certification.
        norm: The norm of all radii.
    """

    label: Tensor
    prediction: Tensor
    rival: Tensor
    proved: Tensor
    slack: Tensor
    counts: dict[float, int]
    sound: bool
    seconds: float
    norm: Norm = "2"

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.label)

    @property
    def correct(self) -> Tensor:
        """Whether each image is classified correctly (n,)."""
        return self.prediction == self.label

    @property
    def clean(self) -> float:
        """Fraction of images classified correctly."""
        return int(self.correct.sum()) / self.n

    @property
    def certified(self) -> dict[float, float]:
        """For each radius of ``counts``, the fraction of images classified correctly throughout that ball."""
        return {eps: count / self.n for eps, count in self.counts.items()}

    @property
    def radius(self) -> Tensor:
        """Certified radius of each image (n,), 0 where the prediction is wrong."""
        return torch.where(self.correct, self.proved, 0.0)

    @property
    def mean_radius(self) -> float:
        """Mean of ``radius``: a wrong prediction counts as 0."""
        return self.radius.mean().item()


def evaluate(
    model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], radii: Sequence[float] | None = None, sound: bool = False
) -> Evaluation:
    """Certify every image of ``batches`` in float64, and count those certified at each radius.

    Args:
        model: A network that :func:`~sll_zoo.certify` accepts; it is not changed.
        batches: Pairs of images (b, channels, height, width) in [0, 1] and labels (b,).
        radii: Radii in pixels of [0, 1], in the network's norm; by default ``RADII_IN`` of this norm.
        sound: Whether rounding is subtracted from each radius, as in ``certify(..., sound=True)``; always for a frozen network.

    Raises:
        InputError: No image at all, images that ``certify`` refuses, or labels that are no class indices, one for each image.
        ConfigError, WeightsError: As for :func:`~sll_zoo.certify`; a network that is changed meanwhile.
    """
    start = time.perf_counter()
    network = evaluation_form(model, sound)
    norm = norm_of(network)
    radii = RADII_IN[norm] if radii is None else radii
    frozen = isinstance(network, FrozenNetwork)
    parts, constants = [], constants_of(network)  # once: those of many classes take longer than a batch
    for images, labels in batches:
        _check_labels(labels, len(images))
        certificate, logits = certificate_in_full(network, images, constants)
        rival = limiting_class(logits, constants)
        columns = (labels, certificate.prediction, rival, certificate.radius, certificate.slack)
        parts.append([column.cpu() for column in columns])
    if not torch.equal(constants, constants_of(network)):
        raise WeightsError("the network was changed while it was evaluated", "evaluate it again, and leave it as it is meanwhile")
    if not sum(len(labels) for labels, *_ in parts):
        raise InputError("the data set has no images", "give at least one batch")
    label, prediction, rival, proved, slack = (torch.cat(part) for part in zip(*parts, strict=True))
    _, *counts = certified_counts(prediction, proved, label, [0.0, *radii]).tolist()
    return Evaluation(
        label, prediction, rival, proved, slack, dict(zip(radii, counts, strict=True)), frozen, time.perf_counter() - start, norm
    )


def _check_labels(labels: Tensor, n: int) -> None:
    if labels.shape != (n,) or labels.is_floating_point() or labels.is_complex() or (n and labels.min() < 0):
        raise InputError(
            f"labels of shape {tuple(labels.shape)} and {labels.dtype} for {n} images",
            "give one class index, 0 or more, for each",
        )
