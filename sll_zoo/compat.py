"""What this package takes of others that they have not promised to keep, each with a guard.

Where a name is gone, or does something else, in another version of its package, the plain way takes over, by interfaces that are
public: results stay, and what is lost is speed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Where a module keeps what is called around its forward and its backward.
FORWARD_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
BACKWARD_HOOKS = ("_backward_hooks", "_backward_pre_hooks")


def graph_is_captured() -> bool:
    """Return whether operations are being written down, to be executed on other numbers: not a place to look at these."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


@cache
def onednn_linear() -> Callable[[Tensor, Tensor, Tensor | None], Tensor] | None:
    """Return ``F.linear`` of float32 on a CPU by oneDNN; None where this PyTorch has none, or one that gives something else."""

    def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y

    x, weight, bias = (torch.arange(n, dtype=torch.float32, device="cpu") for n in (6, 12, 4))
    x, weight = x.view(2, 3), weight.view(4, 3) - 6
    try:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            alike = all(torch.equal(linear(x, weight, b), F.linear(x, weight, b)) for b in (bias, None))
    except (AttributeError, RuntimeError, TypeError):
        return None
    return linear if alike else None


def functorch_may_be_active() -> bool:
    """Return whether ``torch.func`` may be taking derivatives or mapping; True where that cannot be known."""
    try:
        return bool(torch._C._are_functorch_transforms_active())
    except AttributeError:
        return True


def may_have_hooks(module: nn.Module) -> bool:
    """Return whether something may happen around a module's forward or backward; True where that cannot be known."""
    try:
        hooks = any(getattr(module, name) for name in FORWARD_HOOKS + BACKWARD_HOOKS)
        return hooks or nn.modules.module._has_any_global_hook()  # type: ignore[no-untyped-call]  # of torch
    except AttributeError:
        return True


def has_forward_hooks(module: nn.Module) -> bool:
    """Return whether a module has a hook around its forward."""
    try:
        return any(getattr(module, name) for name in FORWARD_HOOKS)
    except AttributeError:
        return any(_has_others(register) for register in (module.register_forward_hook, module.register_forward_pre_hook))


def _has_others(register: Callable[..., Any]) -> bool:
    """Return whether there are hooks beside one that is registered for a moment, to see where they are kept."""
    handle = register(lambda *_: None)
    hooks = handle.hooks_dict_ref()
    handle.remove()
    return bool(hooks)


def leaves(tree: Any) -> Iterator[Any]:
    """Yield what is in nested dictionaries, lists and tuples, or the one thing that is given: ``torch.utils._pytree``'s leaves.

    Example:
        >>> list(leaves({"a": [1, 2], "b": (3, {"c": 4})})), list(leaves(5))
        ([1, 2, 3, 4], [5])
    """
    if not isinstance(tree, Mapping | list | tuple):
        yield tree
        return
    for branch in tree.values() if isinstance(tree, Mapping) else tree:
        yield from leaves(branch)
