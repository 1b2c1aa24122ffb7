"""Folding: a copy of a network in which every rescaling is computed once."""

from __future__ import annotations

import copy
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor, nn

from sll_zoo.layers.attachments import attachment


@runtime_checkable
class Foldable(Protocol):
    """A layer that can compute its rescaling once and for all."""

    def fold(self) -> nn.Module:
        """Return the same map without a rescaling."""


@runtime_checkable
class Structured(Protocol):
    """A network that can tell whether it is what its constants are of."""

    def require_structure(self) -> None:
        """Raise if it is not."""


def fold(module: nn.Module, dtype: torch.dtype | None = None) -> nn.Module:
    """Return a copy of ``module`` in eval mode, with every layer that can fold replaced by its folded form.

    The rescalings are computed in float64 from the stored weights, and then rounded to the type of the copy. The original is not
    touched. In a module that is no network of the zoo, a layer with a hook or a replaced method, or of a subclass with another
    ``forward``, stays as it is.

    Args:
        module: A network or a layer.
        dtype: Floating-point type of the copy; by default that of the module.

    Raises:
        ConfigError: A network of the zoo that is no chain of layers of known kinds, or to which something is attached.

    Example:
        >>> import torch
        >>> from sll_zoo.layers import SLLLinear
        >>> layer, x = SLLLinear(4, 3).double(), torch.rand(2, 4, dtype=torch.float64)
        >>> torch.equal(fold(layer)(x), layer(x))
        True
    """
    for part in module.modules():
        if isinstance(part, Structured):
            part.require_structure()
    dtype = dtype or next((tensor.dtype for tensor in _tensors(module)), torch.float64)
    return _fold(copy.deepcopy(module).double().eval()).to(dtype).eval().requires_grad_(False)


def is_folded(module: nn.Module, dtype: torch.dtype = torch.float64) -> bool:
    """Return whether :func:`fold` has nothing left to do for ``module``."""
    return (
        not module.training
        and all(tensor.dtype == dtype for tensor in _tensors(module))
        and not any(_is_foldable(child) for child in module.modules())
    )


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()]


def _is_foldable(module: nn.Module) -> TypeGuard[Foldable]:
    """Return whether a layer can fold, and does nothing that its ``fold`` does not know of, as a subclass may."""
    if not isinstance(module, Foldable) or attachment(module):
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
