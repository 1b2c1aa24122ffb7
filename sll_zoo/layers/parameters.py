"""The free parameters that every family has, a weight and a bias, and their initialisation.

Residual layers start as the authors of SLL start them. Linear maps start orthogonal: then T = WᵀW, and the rescaling
does not shrink the map. Ten AOL layers with random weights keep 5e-11 of a signal's variance
(``benchmarks/signal_propagation.md``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypedDict

import torch
from torch import Tensor, nn

from sll_zoo.errors import ConfigError


class Placement(TypedDict, total=False):
    """Device and dtype of new parameters, which every layer passes on."""

    device: torch.device | str | None
    dtype: torch.dtype | None


def require_odd(kernel_size: int) -> None:
    """Raise ConfigError unless the kernel size is odd: an even kernel has no symmetric padding that keeps the image's size."""
    if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
        raise ConfigError(f"kernel_size={kernel_size}", "choose an odd integer, for example 3")


def require_sizes(shape: tuple[int, ...]) -> None:
    """Raise ConfigError unless every size of a layer is an integer of at least 1."""
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in shape):
        raise ConfigError(f"a layer of sizes {shape}", "every size must be an integer of at least 1")


def weight_and_bias(
    shape: tuple[int, ...],
    bias: bool,
    fill: Callable[[Tensor], object] = nn.init.xavier_normal_,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[nn.Parameter, nn.Parameter | None]:
    """Return a weight, filled by ``fill``, and a bias (uniform, ±1/√fan_in).

    Raises:
        ConfigError: A size below 1.
    """
    require_sizes(shape)
    weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
    offset = nn.Parameter(torch.empty(shape[0], device=device, dtype=dtype)) if bias else None
    if not weight.is_meta:  # a meta tensor has nothing to fill, and torch is slow there
        fill(weight)
        if offset is not None:
            bound = 1 / math.sqrt(weight[0].numel())
            nn.init.uniform_(offset, -bound, bound)
    return weight, offset


@torch.no_grad()
def orthogonal_(weight: Tensor) -> None:
    """Make a weight (out, in) orthogonal, and a kernel (out, in, k, k) orthogonal in its middle and 0 elsewhere.

    Source: delta-orthogonal kernels, Xiao et al. 2018 (arXiv 1806.05393).
    """
    middle = weight if weight.ndim == 2 else weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2]
    start = torch.empty(middle.shape, device=weight.device)  # float32: torch has no QR decomposition in bfloat16
    nn.init.orthogonal_(start)
    weight.zero_()
    middle.copy_(start)
