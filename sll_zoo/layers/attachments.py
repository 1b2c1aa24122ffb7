"""What is attached to a module beside its class: without it, a module does what its class says."""

from __future__ import annotations

from torch import Tensor, nn

from sll_zoo.compat import has_forward_hooks

HOOK = "a hook, of whose effect nothing is known"


def attachment(module: nn.Module) -> str:
    """Return in a few words what may let a module compute something else than its class says, nothing if there is nothing."""
    return f"it has {HOOK}" if has_forward_hooks(module) else replacement(module)


def replacement(module: nn.Module) -> str:
    """Return the same, but for hooks: an attribute of the instance in the place of a method, a parameter, a buffer or a layer."""
    kind, registered = type(module), {*module._parameters, *module._buffers, *module._modules}
    for name, value in vars(module).items():
        if name in registered or isinstance(value, (Tensor, nn.Module)):
            return f"its {name} is neither parameter nor buffer nor layer"
        put = callable(getattr(kind, name, None)) or (callable(value) and not name.startswith("_"))
        if put and name not in getattr(kind, "TRAINING_ONLY", ()):
            return f"its {name} was put there by hand, and nothing is known of it"
    return ""
