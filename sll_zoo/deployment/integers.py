"""Weights of 8 bits as integers in an ONNX file: a fourth or an eighth of its size, and the same numbers to the bit.

A weight that the zoo has rounded is an integer from −127 to 127 times the scale of its row, a bfloat16; their product is exact in
float32 and float64. The file holds both, and the product is one of its operations, which a runtime executes once, when it loads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

LARGEST = 127
# Fewer numbers than this are left as they are.
WORTHWHILE = 1024


def store_integers(graph: Any) -> None:
    """Replace each initializer of an ``onnx_ir`` graph that is integers times scales, in rows or in columns, by their product."""
    from onnx_ir import Tensor, Value, node

    for name, value in [*graph.initializers.items()]:
        if not (found := _integers(value.const_value.numpy())):
            continue
        parts = []
        for part, numbers in zip(("integers", "scale"), found, strict=True):
            tensor = Tensor(numbers, name=f"{name}.{part}")
            parts.append(Value(name=tensor.name, shape=tensor.shape, type=_type_of(tensor), const_value=tensor))
            graph.initializers[tensor.name] = parts[-1]
        cast = node("Cast", [parts[0]], {"to": value.dtype})
        product = node("Mul", [cast.outputs[0], parts[1]])
        value.replace_all_uses_with(product.outputs[0])
        del graph.initializers[name]
        graph.insert_before(graph[0], [cast, product])


def _type_of(tensor: Any) -> Any:
    from onnx_ir import TensorType

    return TensorType(tensor.dtype)


def _integers(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return int8 numbers and scales whose product is ``weight`` to the bit; None if there are none."""
    if weight.ndim < 2 or weight.size < WORTHWHILE or weight.dtype not in (np.float32, np.float64):
        return None
    for axis in (0, 1):
        others = tuple(other for other in range(weight.ndim) if other != axis)
        largest = np.abs(weight).max(others, keepdims=True) / LARGEST
        scale = torch.from_numpy(largest).bfloat16().to(torch.float64).numpy().astype(weight.dtype)
        scale[scale == 0] = 1
        integers = np.clip(np.rint(weight / scale), -LARGEST, LARGEST)
        if np.array_equal(integers * scale, weight):
            return integers.astype(np.int8), scale
    return None
