"""Operations and bytes of each kind of layer, and the least time that they can take on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch.nn import functional as F

from sll_zoo.functional.fast.gram import BLOCK
from sll_zoo.functional.fast.products import linear
from sll_zoo.models import LipNetConfig


@dataclass(frozen=True)
class Roof:
    """What the machine can do: floating-point operations and bytes a second."""

    flops: float
    bandwidth: float

    def seconds(self, work: Work) -> float:
        """Return the least time for the work."""
        return work.count * max(work.flops / self.flops, work.bytes / self.bandwidth)


@dataclass(frozen=True)
class Roofs:
    """What the machine can do in the dtype of the images, and in float32, in which our T is always computed."""

    images: Roof
    rescaling: Roof

    def of(self, work: Work) -> Roof:
        """Return the roof that limits the work."""
        return self.rescaling if work.kind == "T" else self.images

    def seconds(self, work: Work) -> float:
        """Return the least time for the work."""
        return self.of(work).seconds(work)


@dataclass(frozen=True)
class Work:
    """What the layers of one kind do: operations and bytes of one layer, and how many layers there are."""

    kind: str
    count: int
    flops: float
    bytes: float


def works(config: LipNetConfig, batch: int, size: int, name: str, task: str) -> list[Work]:
    """Return the work of ``ours``, ``folded``, ``formula``, ``plain`` or ``T`` in a task, with numbers of ``size`` bytes.

    The work is counted in passes over the images of a convolution, the weight of a dense layer, and the Gram matrix. A product of
    two operands is one pass over each; numbers that are written and read again at once are assumed to stay in the cache.
    """
    training = task == "training"
    height, width = config.img_size
    size = 4 if training else size  # autocast changes products alone, and T is float32 in every task
    images = batch * height * width * config.width * size
    weight, gram = 4 * config.dense_inner * config.num_features, 4 * config.dense_inner**2
    conv_pass = 2 * batch * height * width * config.width * config.conv_inner * config.kernel_size**2
    dense_pass = 2 * batch * config.dense_inner * config.num_features
    gram_pass = 2 * config.dense_inner**2 * config.num_features
    reversible = name in ("ours", "folded")
    # Forward: a product, its adjoint, a difference. Backward: two products, their derivatives, and the input found again.
    conv_flops = conv_pass * (2 + training * (5 if reversible else 4))
    conv_bytes = images * ((3 + training * 7) if reversible else (5 + training * 9))
    # Two products forward and two backward read the weight. Its derivative is one product, or two and their sum.
    dense_bytes = weight * size / 4 * (2 + training * (3 if reversible else 7))
    result = [
        Work("convolutions", config.conv_layers, conv_flops, conv_bytes),
        Work("dense layers", config.dense_layers, dense_pass * (6 if training else 2), dense_bytes),
    ]
    if name == "formula":
        result.append(
            Work("formula's T", config.dense_layers, gram_pass * (3 if training else 1), gram * (12 if training else 4))
        )
    elif name in ("ours", "T"):
        half = 0.5 + 0.5 * BLOCK / config.dense_inner
        result.append(Work("T", config.dense_layers, gram_pass * (half + training), weight * (6 if training else 3)))
    if name == "T":
        return result[-1:]
    if training:
        parameters = config.dense_layers * config.dense_inner * config.num_features
        result.append(Work("Adam", 1, 10 * parameters, 7 * 4 * parameters))
    return result


def measured_roof(device: torch.device, dtype: torch.dtype) -> Roof:
    """Return the rate of a large product and of a large copy."""
    a = torch.randn(2048, 2880, device=device, dtype=dtype)
    source = torch.empty(2**26, device=device)
    target = torch.empty_like(source)
    product = min(_seconds(lambda: F.linear(a, a), device), _seconds(lambda: linear(a, a), device))
    copy = _seconds(lambda: target.copy_(source), device)
    return Roof(2 * 2048**2 * 2880 / product, 2 * source.nbytes / copy)


def _seconds(run: Callable[[], object], device: torch.device, repeats: int = 7) -> float:
    times = [seconds(run, device) for _ in range(repeats)]
    return median(times)


def seconds(run: Callable[[], object], device: torch.device) -> float:
    """Return the time of one call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start
