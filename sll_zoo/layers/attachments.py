"""Hooks and replaced attributes of a module: without them, it computes what its class says."""

from __future__ import annotations

from torch import Tensor, nn

from sll_zoo.compat import has_forward_hooks

HOOK = "a hook, of whose effect nothing is known"


def attachment(module: nn.Module) -> str:
    """Describe a hook or replaced attribute by which a module may compute something else than its class; empty if it has none."""
    return f"it has {HOOK}" if has_forward_hooks(module) else replacement(module)


def replacement(module: nn.Module) -> str:
    """Describe an attribute of the instance that replaces a method, parameter, buffer or layer; hooks are not looked at."""
    kind, registered = type(module), {*module._parameters, *module._buffers, *module._modules}
    for name, value in vars(module).items():
        if name in registered or isinstance(value, (Tensor, nn.Module)):
            return f"its {name} is neither parameter nor buffer nor layer"
        if callable(getattr(kind, name, None)) or (callable(value) and not name.startswith("_")):
            return f"its {name} was put there by hand, and nothing is known of it"
    return ""
