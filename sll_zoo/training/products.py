"""The product that T of dense SLL layers is made of, replaced for the steps of a training."""

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
    """What a layer has in place of ``abs_gram_product`` while it is trained.

    A copy or a pickle of the layer has ``abs_gram_product`` again: it need not be trained, nor by the same processes.

    Attributes:
        group: Processes that share the work, all of which take each step; None where each does all of it.
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
        """Return how a copy is made."""
        return _default, ()


def _default() -> Product:
    return abs_gram_product


def change_products(network: nn.Module, **choices: Any) -> None:
    """Let the dense SLL layers of a network have a :class:`TrainingProduct`; what was chosen for it before stays."""
    for layer in _layers(network):
        given = layer.product if isinstance(layer.product, TrainingProduct) else TrainingProduct()
        layer.product = replace(given, **choices)


def restore_products(network: nn.Module) -> None:
    """Let the dense SLL layers of a network have ``abs_gram_product`` again."""
    for layer in _layers(network):
        layer.product = abs_gram_product


def _layers(network: nn.Module) -> Iterator[SLLLinear]:
    return (module for module in network.modules() if isinstance(module, SLLLinear))
