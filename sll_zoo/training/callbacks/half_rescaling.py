"""The rescaling of dense layers in bfloat16, while they are trained."""

from __future__ import annotations

import torch
from lightning import Callback, LightningModule, Trainer

from sll_zoo.training.products import change_products, restore_products


class BFloat16Rescaling(Callback):
    """Let the products for T of every dense SLL layer, and for its derivatives, be of bfloat16 in the steps of a training.

    T is then off by less than a hundredth. Validation, certificates and what is saved compute T as always, from the weights: no
    certificate rests on it. How fast it is, and what it costs: ``benchmarks/half_rescaling.md``. Layers of other families and of
    ``power`` above 1 stay as they are, and so do convolutions.

    In a configuration, ``class_path: sll_zoo.training.callbacks.BFloat16Rescaling`` among ``trainer.callbacks``.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Tell the layers."""
        change_products(pl_module, compute_dtype=torch.bfloat16)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Take it back."""
        restore_products(pl_module)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Take it back."""
        restore_products(pl_module)
