"""Matrix products: their precision, and the faster of two ways to compute them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F

from sll_zoo.compat import functorch_may_be_active, graph_is_captured, is_traced, onednn_linear


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Suspend autocast, TF32 and the bfloat16 products of CPUs, whose errors of 1e-3 would make T too small.

    In a captured graph these switches cannot be set, and stay as they are. Certificates run in float64, which none of them
    affects.
    """
    with torch.autocast(device_type, enabled=False):
        if device_type not in ("cuda", "cpu") or graph_is_captured():
            yield
            return
        switches = _switches(device_type)
        saved = [switch.fp32_precision for switch in switches]
        try:
            for switch in switches:
                switch.fp32_precision = "ieee"
            yield
        finally:
            for switch, value in zip(switches, saved, strict=True):
                switch.fp32_precision = value


def _switches(device_type: str) -> tuple[Any, Any]:
    """Return the objects that hold PyTorch's precision of float32 products and convolutions."""
    backends: Any = torch.backends
    if device_type == "cuda":
        return backends.cuda.matmul, backends.cudnn.conv
    return backends.mkldnn.matmul, backends.mkldnn.conv


def linear(
    x: Float[Tensor, "rows inner"], weight: Float[Tensor, "columns inner"], bias: Float[Tensor, " columns"] | None = None
) -> Float[Tensor, "rows columns"]:
    """Return ``x @ weight.mT + bias``, for code with a hand-written backward: autograd does not pass through it.

    For float32 on a CPU, PyTorch's default is MKL's product. oneDNN's, which PyTorch has as well, has twice the error (1e-8 of
    the norms, root mean square, where eps is 12e-8), and is faster on some processors: 0.052 s instead of 0.113 s for
    2,048 × 2,880 by its transpose on two cores of an AMD EPYC (medians of 15).
    """
    if x.device.type != "cpu" or x.dtype != torch.float32 or not x.numel() or graph_is_captured() or not _onednn():
        return F.linear(x, weight, bias)
    return (onednn_linear() or F.linear)(x, weight, bias)


def _onednn() -> bool:
    backend: Any = torch.backends.mkldnn
    return bool(backend.is_available() and backend.enabled)


def derivatives_are_taken_in_reverse(*tensors: Tensor) -> bool:
    """Return whether only ``backward`` can take derivatives: not forward mode, not ``torch.func``, and not those of a trace."""
    if graph_is_captured():
        return not is_traced()
    unpack: Any = forward_ad.unpack_dual
    forward = any(unpack(tensor).tangent is not None for tensor in tensors)
    return not forward and not functorch_may_be_active()
