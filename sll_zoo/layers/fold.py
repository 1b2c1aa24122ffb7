"""Folding: a copy of a network in which every rescaling is computed once."""

from __future__ import annotations

import copy
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import nn

from sll_zoo.compat import has_forward_hooks


@runtime_checkable
class Foldable(Protocol):
    """A layer that can compute its rescaling once and for all."""

    def fold(self) -> nn.Module:
        """Return the same map without a rescaling."""


def fold(module: nn.Module, dtype: torch.dtype = torch.float64) -> nn.Module:
    """Return a copy of ``module`` in eval mode and ``dtype``, with every layer that can fold replaced by its folded form.

    A layer with a hook, or of a subclass with another ``forward``, stays as it is. The rescalings are computed in ``dtype`` from
    the stored weights. The original is not touched.

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
        and not any(_is_foldable(child) for child in module.modules())
    )


def does_what_its_class_says(module: nn.Module) -> bool:
    """Return whether a module has no hook, and no ``forward`` of its own instance."""
    return not (has_forward_hooks(module) or "forward" in vars(module))


def _is_foldable(module: nn.Module) -> TypeGuard[Foldable]:
    """Return whether a layer can fold, and does nothing that its ``fold`` does not know of, as a subclass may."""
    if not isinstance(module, Foldable) or not does_what_its_class_says(module):
        return False
    # The class nearest to the module's own that defines one of these defines all that it changes, fold among them.
    methods = ("fold", "forward", "functional")
    return "fold" in next((vars(kind) for kind in type(module).__mro__ if any(name in vars(kind) for name in methods)), ())


def _fold(module: nn.Module) -> nn.Module:
    if _is_foldable(module):
        return module.fold()
    for name, child in module.named_children():
        setattr(module, name, _fold(child))
    return module
