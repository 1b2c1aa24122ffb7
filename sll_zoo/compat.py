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
# Where Lightning keeps what reads the batches of a training, and by what its strategies move one to a device.
FETCHER = "_data_fetcher"
TRANSFER = "batch_to_device"


def graph_is_captured() -> bool:
    """Return whether operations are being written down, to be executed on other numbers: not a place to look at these."""
    return torch.compiler.is_compiling() or is_traced()


def is_traced() -> bool:
    """Return whether ``torch.jit.trace`` is writing operations down. It is deprecated, and may be gone."""
    return bool(getattr(torch.jit, "is_tracing", bool)())


@cache
def onednn_linear() -> Callable[[Tensor, Tensor, Tensor | None], Tensor] | None:
    """Return ``F.linear`` of float32 on a CPU by oneDNN; None where this PyTorch has none, or one that gives something else.

    Slices of a transposed matrix are copied: torch 2.14.1 takes a thousand times as long for them.
    """

    def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x, weight = (matrix if matrix.mT.is_contiguous() else matrix.contiguous() for matrix in (x, weight))
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return y

    x, weight, bias = (torch.arange(n, dtype=torch.float32, device="cpu") for n in (6, 12, 4))
    x, weight = x.view(2, 3), weight.view(4, 3) - 6
    try:
        with torch.no_grad(), torch.autocast("cpu", enabled=False):
            pairs = [(linear(x, weight, b), F.linear(x, weight, b)) for b in (bias, None)]
            alike = all(ours.dtype == plain.dtype and torch.equal(ours, plain) for ours, plain in pairs)
    except (AttributeError, RuntimeError, TypeError):
        return None
    return linear if alike else None


def functorch_may_be_active() -> bool:
    """Return whether ``torch.func`` may be taking derivatives or mapping; True where that cannot be known."""
    try:
        return bool(torch._C._are_functorch_transforms_active())
    except (AttributeError, TypeError):
        return True


def may_have_hooks(module: nn.Module) -> bool:
    """Return whether something may happen around a module's forward or backward; True where that cannot be known."""
    try:
        hooks = any(getattr(module, name) for name in FORWARD_HOOKS + BACKWARD_HOOKS)
        return hooks or nn.modules.module._has_any_global_hook()  # type: ignore[no-untyped-call]  # of torch
    except (AttributeError, TypeError):
        return True


def has_forward_hooks(module: nn.Module) -> bool:
    """Return whether a module has a hook around its forward."""
    try:
        return any(getattr(module, name) for name in FORWARD_HOOKS)
    except AttributeError:
        return any(_has_others(register) for register in (module.register_forward_hook, module.register_forward_pre_hook))


def has_global_forward_hooks() -> bool:
    """Return whether every module has a hook around its forward."""
    of_torch = nn.modules.module
    return any(map(_has_others, (of_torch.register_module_forward_hook, of_torch.register_module_forward_pre_hook)))


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


def begin_anew(fit_loop: Any, skipped: int) -> bool:
    """Let Lightning read an epoch from its beginning, and drop the first batches; return whether it can be told.

    Args:
        fit_loop: Of a trainer, at the start of a training.
        skipped: Number of batches to drop.
    """
    fetcher = getattr(fit_loop, FETCHER, None)
    if not isinstance(fetcher, Iterator) or not hasattr(fetcher, "fetched"):
        return False
    iter(fetcher)
    for _ in range(skipped):
        next(fetcher)
    fetcher.fetched = 0  # Lightning counts those itself
    return True


def before_transfer(strategy: Any, act: Callable[[], None]) -> bool:
    """Let a strategy of Lightning do something before it moves a batch to its device; return whether it can be told, once.

    Callbacks have no hook there. Where it cannot be told, batches are moved as ever.
    """
    transfer = getattr(strategy, TRANSFER, None)
    if transfer is None or TRANSFER in vars(strategy):
        return False

    def act_and_transfer(*arguments: Any, **options: Any) -> Any:
        act()
        return transfer(*arguments, **options)

    setattr(strategy, TRANSFER, act_and_transfer)
    return True
