"""Measuring how much memory the results of PyTorch's operations take."""

import weakref

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Peak(TorchDispatchMode):
    """Keeps in ``bytes`` the most memory that the results of operations inside the context took at one time."""

    def __init__(self):
        super().__init__()
        self.bytes, self._results = 0, []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        results = result if isinstance(result, tuple | list) else [result]
        self._results += [weakref.ref(one) for one in results if isinstance(one, Tensor)]
        tensors = [tensor for found in self._results if (tensor := found()) is not None]
        sizes = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
        self.bytes = max(self.bytes, sum(sizes.values()))
        return result


def peak(function):
    """Return the most bytes that the results of a function's operations took at one time, its return value included."""
    with Peak() as found:
        _ = function()
    return found.bytes
