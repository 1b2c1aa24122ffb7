"""Folding: a copy of a network in which every rescaling is computed once."""

from __future__ import annotations

import copy
from typing import Protocol, runtime_checkable

import torch
from torch import nn


@runtime_checkable
class Foldable(Protocol):
    """A layer that can compute its rescaling once and for all."""

    def fold(self) -> nn.Module:
        """Return the same map without a rescaling."""


def fold(module: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a copy of ``module`` in eval mode and ``dtype``, with every layer that can fold replaced by its folded form.

    The rescalings are computed in ``dtype`` from the stored weights. The original is not touched.

    Args:
        module: A network or a layer.
        dtype: Floating-point type of the copy.

    Example:
        >>> import torch
        >>> from sll_zoo.layers import SLLLinear
        >>> layer, x = SLLLinear(4, 3).double(), torch.rand(2, 4, dtype=torch.float64)
        >>> torch.equal(fold(layer)(x), layer(x))
        True
    """
    return _fold(copy.deepcopy(module).to(dtype).eval()).eval().requires_grad_(False)


def is_folded(module: nn.Module, dtype: torch.dtype = torch.float64) -> bool:
    """Return whether :func:`fold` has nothing left to do for ``module``."""
    tensors = [*module.parameters(), *module.buffers()]
    return (
        not module.training
        and all(tensor.dtype == dtype for tensor in tensors if tensor.is_floating_point())
        and not any(isinstance(child, Foldable) for child in module.modules())
    )


def _fold(module: nn.Module) -> nn.Module:
    if isinstance(module, Foldable):
        return module.fold()
    for name, child in module.named_children():
        setattr(module, name, _fold(child))
    return module
