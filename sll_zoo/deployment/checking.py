"""Comparing a deployed file with PyTorch, and timing it."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import Tensor

from sll_zoo.certificates.certification import certify
from sll_zoo.certificates.soundness import FrozenNetwork
from sll_zoo.deployment.formats import Runner
from sll_zoo.errors import ExportError
from sll_zoo.models import LipschitzClassifier

# Largest difference of the file's logits from PyTorch's in float64, relative to the largest logit. For sll_small, 9e-7 and 3e-15
# were measured at most.
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
# What a file subtracts for rounding is computed by another formula, and never less, but for the rounding of that.
SLACK = 1e-6
BATCHES = (1, 3)
TIMED_RUNS = 30
WARM_UP = 5


def compare(run: Runner, network: LipschitzClassifier | FrozenNetwork, dtype: torch.dtype) -> tuple[float, float]:
    """Return how far a file's logits are from PyTorch's in float64, relative to the largest, and its radii from ``certify``'s.

    Args:
        run: Executes the file.
        network: The network it was made of, by :func:`~sll_zoo.fold` or :func:`~sll_zoo.freeze`, in float64.
        dtype: The file's dtype.

    Raises:
        ExportError: Logits or radii are too far off, a prediction differs although the margin is larger than the tolerance, or
            less is subtracted for rounding than must be.
    """
    config = (network.network if isinstance(network, FrozenNetwork) else network).config
    generator = torch.Generator().manual_seed(0)
    pairs = [_compare_on(run, network, torch.rand(n, *config.input_shape, generator=generator), dtype) for n in BATCHES]
    logits, radii = (max(errors) for errors in zip(*pairs, strict=True))
    return logits, radii


def _compare_on(
    run: Runner, network: LipschitzClassifier | FrozenNetwork, images: Tensor, dtype: torch.dtype
) -> tuple[float, float]:
    with torch.no_grad():
        expected = network(images.double())
    certificate = certify(network, images)
    found = {name: output.double() for name, output in run(images.to(dtype)).items()}
    logits, radius = found["logits"], found["radius"]
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
    constants: Tensor = network.pairwise_lipschitz()
    smallest = float(constants[constants > 0].amin() if (constants > 0).any() else 1)
    radius_error = _radius_error(radius + found.get("slack", 0.0), certificate.radius + certificate.slack)
    if not radius_error <= 2 * allowed / smallest:
        raise _disagreement(f"radii off by {radius_error:.2g}", dtype)
    if "slack" in found and not bool((found["slack"] >= (1 - SLACK) * certificate.slack).all()):
        raise _disagreement("it subtracts too little for rounding", dtype)
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
