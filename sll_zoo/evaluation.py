"""Measuring a network on a data set: clean and certified accuracy, with what is needed to repeat the measurement."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sll_zoo.certification import certify
from sll_zoo.errors import InputError
from sll_zoo.functional.certificate import RADII, certified_counts
from sll_zoo.layers import fold


@dataclass(frozen=True)
class Evaluation:
    """What :func:`evaluate` measured.

    Attributes:
        clean: Fraction of images classified correctly.
        certified: For each L2 radius in pixels of [0, 1], the fraction classified correctly throughout that ball.
        radius: Certified radius of each image (n,), 0 where the prediction is wrong.
        seconds: Wall time of the certification.
    """

    clean: float
    certified: dict[float, float]
    radius: Tensor
    seconds: float

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.radius)


def evaluate(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], radii: Sequence[float] = RADII) -> Evaluation:
    """Certify every image of ``batches`` in float64 and count.

    Args:
        model: A network that :func:`~sll_zoo.certify` accepts; it is not changed.
        batches: Pairs of images (b, channels, height, width) in [0, 1] and labels (b,).
        radii: L2 radii in pixels of [0, 1].

    Raises:
        InputError: No image at all, or images that ``certify`` refuses.
    """
    start = time.perf_counter()
    frozen = fold(model)
    counts = torch.zeros(1 + len(radii), dtype=torch.long)
    credited = []
    for images, labels in batches:
        certificate = certify(frozen, images)
        target = labels.to(certificate.prediction.device)
        counts += certified_counts(certificate.prediction, certificate.radius, target, [0.0, *radii]).cpu()
        credited.append(torch.where(certificate.prediction == target, certificate.radius, 0.0).cpu())
    radius = torch.cat(credited) if credited else torch.zeros(0)
    if not len(radius):
        raise InputError("the data set has no images", "give at least one batch")
    clean, *certified = (counts.double() / len(radius)).tolist()
    return Evaluation(clean, dict(zip(radii, certified, strict=True)), radius, time.perf_counter() - start)
