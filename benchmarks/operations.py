"""Counting the operations of products and convolutions, without the hooks of FlopCounterMode, which change what is executed."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

# Written in place, which the registry leaves out.
COUNTS = flop_registry | {torch.ops.aten.addmm_: flop_registry[torch.ops.aten.addmm]}


class Operations(TorchDispatchMode):
    """Counts what is executed within; products of oneDNN in float32 are not counted, so that networks should be in float64."""

    total = 0.0

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Execute an operation and count what it does."""
        result = operation(*args, **(kwargs or {}))
        count = COUNTS.get(operation.overloadpacket)
        self.total += count(*args, **(kwargs or {}), out_val=result) if count else 0
        return result
