"""The rescaling of dense layers in bfloat16 during a training."""

from __future__ import annotations

import torch
from lightning import Callback, LightningModule, Trainer

from sll_zoo.training.products import change_products, restore_products


class BFloat16Rescaling(Callback):
    """Compute the products inside T of every dense SLL layer, and inside its derivatives, in bfloat16 in the steps of a training.

    The relative error of T is then below 0.01. Validation, certificates and the saved network compute T as usual, from the
    weights, so that no certificate depends on it. Speed and accuracy are in ``benchmarks/half_rescaling.md``. Layers of other
    families or of ``power`` above 1, and convolutions, stay as they are.

    In a configuration, ``class_path: sll_zoo.training.callbacks.BFloat16Rescaling`` among ``trainer.callbacks``.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Give the layers products in bfloat16."""
        change_products(pl_module, compute_dtype=torch.bfloat16)

    def on_growth(self, pl_module: LightningModule) -> None:
        """Give the layers of a network that has grown products in bfloat16."""
        change_products(pl_module, compute_dtype=torch.bfloat16)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Give the layers their usual product again."""
        restore_products(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Give the layers their usual product again."""
        restore_products(pl_module)
