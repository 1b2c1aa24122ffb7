"""Private or deprecated names of other packages, each behind a guard.

Where another version of a package lacks such a name, or has changed what it does, a slower way by public interfaces takes over,
or the caller is told that the name is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Attributes of a torch module that hold its hooks.
FORWARD_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
BACKWARD_HOOKS = ("_backward_hooks", "_backward_pre_hooks")
# Attributes of Lightning: the reader of batches in its fit loop, and the method of its strategies that moves a batch to a device.
FETCHER = "_data_fetcher"
TRANSFER = "batch_to_device"


def is_compiled(module: nn.Module) -> bool:
    """Return whether ``module.compile()`` was called, or something else was put there: a call then executes that."""
    return getattr(module, "_compiled_call_impl", None) is not None


def graph_is_captured() -> bool:
    """Return whether torch is capturing a graph, which later runs on other numbers, so that code must not depend on values."""
    return torch.compiler.is_compiling() or is_traced()


def is_traced() -> bool:
    """Return whether ``torch.jit.trace`` is at work. It is deprecated, and later versions of torch may not have it."""
    return bool(getattr(torch.jit, "is_tracing", bool)())


@cache
def onednn_linear() -> Callable[[Tensor, Tensor, Tensor | None], Tensor] | None:
    """Return ``F.linear`` for float32 on a CPU by oneDNN; None without one that is safe and gives the same.

    Before 3.11.2, oneDNN lets the stack pointer point into the heap during a product, and the handler of a signal (such as
    Ctrl-C, or the end of a process that reads images) overwrites numbers there: https://github.com/uxlfoundation/oneDNN/issues/4845.

    Slices of a transposed matrix are copied: torch 2.14.1 takes a thousand times as long for them.
    """
    version = re.search(r"MKL-DNN v(\d+)\.(\d+)\.(\d+)", torch.__config__.show())
    if not version or tuple(map(int, version.groups())) < (3, 11, 2):
        return None

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


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for products in bfloat16; False where that cannot be known."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())


def functorch_may_be_active() -> bool:
    """Return whether a transform of ``torch.func`` (grad, vmap) may be active; True where that cannot be known."""
    try:
        return bool(torch._C._are_functorch_transforms_active())
    except (AttributeError, TypeError):
        return True


def may_have_hooks(module: nn.Module) -> bool:
    """Return whether a hook may run around a module's forward or backward; True where that cannot be known."""
    try:
        hooks = any(getattr(module, name) for name in FORWARD_HOOKS + BACKWARD_HOOKS)
        return hooks or nn.modules.module._has_any_global_hook()  # type: ignore[no-untyped-call]  # torch does not annotate it
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
    """Return whether any hook is registered; one more is registered for a moment, to find the dictionary that holds them."""
    handle = register(lambda *_: None)
    hooks = handle.hooks_dict_ref()
    handle.remove()
    return bool(hooks)


def leaves(tree: Any) -> Iterator[Any]:
    """Yield the leaves of nested dictionaries, lists and tuples, as ``torch.utils._pytree`` does; anything else is a leaf.

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
    """Let Lightning read an epoch from its beginning and drop the first batches; return whether this Lightning allows that.

    Args:
        fit_loop: The trainer's fit loop, at the start of a training.
        skipped: Number of batches to drop.
    """
    fetcher = getattr(fit_loop, FETCHER, None)
    if not isinstance(fetcher, Iterator) or not hasattr(fetcher, "fetched"):
        return False
    iter(fetcher)
    for _ in range(skipped):
        next(fetcher)
    fetcher.fetched = 0  # Lightning adds the number of skipped batches itself
    return True


def before_transfer(strategy: Any, act: Callable[[], None]) -> bool:
    """Call ``act`` before a Lightning strategy moves a batch to its device; return whether that was arranged.

    Callbacks have no hook there. It is arranged once for each strategy; where Lightning lacks the method, nothing changes.
    """
    transfer = getattr(strategy, TRANSFER, None)
    if transfer is None or TRANSFER in vars(strategy):
        return False

    def act_and_transfer(*arguments: Any, **options: Any) -> Any:
        act()
        return transfer(*arguments, **options)

    setattr(strategy, TRANSFER, act_and_transfer)
    return True
