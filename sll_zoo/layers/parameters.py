"""The free parameters that every family has: a weight and a bias."""

from __future__ import annotations

import math
from typing import TypedDict

import torch
from torch import nn

from sll_zoo.errors import ConfigError


class Placement(TypedDict, total=False):
    """Where parameters are created, and of which type: what every layer hands on."""

    device: torch.device | str | None
    dtype: torch.dtype | None


def require_odd(kernel_size: int) -> None:
    """Raise ConfigError for a kernel without a padding that keeps the image's size."""
    if not isinstance(kernel_size, int) or kernel_size < 1 or kernel_size % 2 == 0:
        raise ConfigError(f"kernel_size={kernel_size}", "choose an odd integer, for example 3")


def weight_and_bias(
    shape: tuple[int, ...], bias: bool, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> tuple[nn.Parameter, nn.Parameter | None]:
    """Return a weight (Xavier normal) and a bias (uniform, ±1/√fan_in), drawn as the authors of SLL do.

    Raises:
        ConfigError: A size below 1.
    """
    if min(shape) < 1:
        raise ConfigError(f"weight of shape {shape}", "every size must be at least 1")
    weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
    nn.init.xavier_normal_(weight)
    if not bias:
        return weight, None
    bound = 1 / math.sqrt(weight[0].numel())
    return weight, nn.Parameter(torch.empty(shape[0], device=device, dtype=dtype).uniform_(-bound, bound))
