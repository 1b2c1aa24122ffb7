"""Replacing the product ``|V Vᵀ| q`` inside T of dense SLL layers during a training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, distributed, nn

from sll_zoo.functional.fast.gram import abs_gram_product
from sll_zoo.functional.rescaling import Product
from sll_zoo.layers import SLLLinear
from sll_zoo.training.sharded_gram import sharded_abs_gram_product


@dataclass(frozen=True)
class TrainingProduct:
    """A layer's replacement for ``abs_gram_product`` during a training.

    A copy or a pickle of the layer has ``abs_gram_product`` again, since it may be used elsewhere, or by other processes.

    Attributes:
        group: Processes that share the work, all of which take each step; None where each does the whole work.
        compute_dtype: As for ``abs_gram_product``.
    """

    group: distributed.ProcessGroup | None = None
    compute_dtype: torch.dtype | None = None

    def __call__(self, weight: Tensor, scale: Tensor, q: Tensor) -> Tensor:
        """Return ``|V Vᵀ| q`` of V = ``weight / scale``."""
        if self.group is None:
            return abs_gram_product(weight, scale, q, self.compute_dtype)
        return sharded_abs_gram_product(weight, scale, q, self.group, self.compute_dtype)

    def __reduce__(self) -> Any:
        """Return the recipe of a copy or a pickle, which is ``abs_gram_product``."""
        return _default, ()


def _default() -> Product:
    return abs_gram_product


def change_products(network: nn.Module, **choices: Any) -> None:
    """Give the dense SLL layers of a network a :class:`TrainingProduct` with these attributes; other attributes stay."""
    for layer in _layers(network):
        given = layer.product if isinstance(layer.product, TrainingProduct) else TrainingProduct()
        layer.product = replace(given, **choices)


def restore_products(network: nn.Module) -> None:
    """Give the dense SLL layers of a network ``abs_gram_product`` again."""
    for layer in _layers(network):
        layer.product = abs_gram_product


def _layers(network: nn.Module) -> Iterator[SLLLinear]:
    return (module for module in network.modules() if isinstance(module, SLLLinear))
