"""Comparing a deployed file with PyTorch, and timing it."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import Tensor

from sll_zoo.certificates.certification import certify
from sll_zoo.deployment.formats import Runner
from sll_zoo.errors import ExportError
from sll_zoo.models import LipschitzClassifier

# Largest difference of the file's logits from PyTorch's in float64, relative to the largest logit. For sll_small, 9e-7 and 3e-15
# were measured at most.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
BATCHES = (1, 3)
TIMED_RUNS = 30
WARM_UP = 5


def compare(run: Runner, folded: LipschitzClassifier, dtype: torch.dtype) -> tuple[float, float]:
    """Return how far a file's logits are from PyTorch's in float64, relative to the largest, and its radii from ``certify``'s.

    Args:
        run: Executes the file.
        folded: The network it was made of, by :func:`~sll_zoo.fold`.
        dtype: The file's dtype.

    Raises:
        ExportError: Logits or radii are too far off, or a prediction differs although the margin is larger than the tolerance.
    """
    generator, shape = torch.Generator().manual_seed(0), folded.config.input_shape
    pairs = [_compare_on(run, folded, torch.rand(n, *shape, generator=generator), dtype) for n in BATCHES]
    logits, radii = (max(errors) for errors in zip(*pairs, strict=True))
    return logits, radii


def _compare_on(run: Runner, folded: LipschitzClassifier, images: Tensor, dtype: torch.dtype) -> tuple[float, float]:
    with torch.no_grad():
        expected = folded(images.double())
    certificate = certify(folded, images)
    logits, radius = (output.double() for output in run(images.to(dtype)))
    if (logits.shape, radius.shape) != (expected.shape, certificate.radius.shape):
        raise _disagreement(f"outputs of shapes {tuple(logits.shape)} and {tuple(radius.shape)}", dtype)
    size = float(expected.abs().amax().clamp_min(torch.finfo(dtype).tiny))
    error, allowed = float((logits - expected).abs().amax()), TOLERANCE[dtype] * size
    if not error <= allowed:
        raise _disagreement(f"logits off by {error / size:.2g} of their size", dtype)
    runner_up = expected.scatter(1, certificate.prediction[:, None], -torch.inf).amax(1)
    clear = expected.amax(1) - runner_up > 2 * allowed
    if not torch.equal(logits.argmax(1)[clear], certificate.prediction[clear]):
        raise _disagreement("other predictions", dtype)
    radius_error = _radius_error(radius, certificate.radius)
    constants = folded.pairwise_lipschitz()
    if not radius_error <= 2 * allowed / float(constants[constants > 0].amin() if (constants > 0).any() else 1):
        raise _disagreement(f"radii off by {radius_error:.2g}", dtype)
    return error / size, radius_error


def _radius_error(radius: Tensor, expected: Tensor) -> float:
    """Return the largest difference of two radii; it is infinite where only one of them is infinite."""
    return float(torch.where(radius == expected, 0.0, (radius - expected).abs()).amax())


def _disagreement(what: str, dtype: torch.dtype) -> ExportError:
    remedy = (
        "export in float64"
        if dtype == torch.float32
        else "this is a mistake of the exporter or the runtime: try the other format"
    )
    return ExportError(f"the file does not agree with PyTorch: {what}", remedy)


def latency(run: Runner, image: Tensor) -> float:
    """Return the seconds that a file takes for a batch of one, the median of ``TIMED_RUNS``."""
    seconds = []
    for _ in range(WARM_UP + TIMED_RUNS):
        start = time.perf_counter()
        run(image)
        seconds.append(time.perf_counter() - start)
    return median(seconds[WARM_UP:])
