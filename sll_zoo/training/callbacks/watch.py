"""Stopping a training when its numbers are no longer finite, and naming the layer where that began."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, distributed, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from sll_zoo.compat import leaves
from sll_zoo.errors import DivergedError
from sll_zoo.training.strategies import require_whole_network

REMEDY = "lower the learning rate or mend the data, then go on from the last checkpoint with --ckpt_path last"


class FiniteWatch(Callback):
    """Stop before the step where the loss or a gradient is not finite, and name the layer; keep such weights out of checkpoints.

    The layer is the first whose output is not finite when the batch is run once more. If all are finite, it is that of the last
    parameter whose gradient is not, for gradients come from the network's end.

    With several processes, a fault on one stops all. Gradients in float16 are not checked: they overflow now and then, and
    Lightning then skips the step.

    Raises:
        ConfigError: A strategy other than DDP, under which a process may have only a part of the gradients.
        DivergedError: The loss, a gradient or a weight that is to be saved is not finite.
    """

    def __init__(self) -> None:
        self._batch: Any = None
        self._loss = torch.zeros(())

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Refuse a strategy that divides gradients among processes."""
        require_whole_network(trainer, self)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Keep the batch, to run it once more if need be."""
        self._batch = batch

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:  # noqa: ARG002
        """Keep the loss."""
        self._loss = loss.detach()

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:  # noqa: ARG002
        """Check that the loss and all gradients are finite, and raise DivergedError if not."""
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None and not _scaled(trainer)]
        if trainer.strategy.reduce_boolean_decision(_finite([self._loss, *gradients])):
            return
        # The fault nearest to its origin counts: a process with finite images and outputs only sees gradients that are not.
        _, found = min(_from_all(trainer, _find(trainer, pl_module, self._batch, self._loss)))
        raise DivergedError(f"{found} (epoch {trainer.current_epoch}, step {trainer.global_step})", REMEDY)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Refuse a checkpoint of weights that are not finite, before it replaces an earlier one."""
        if not _finite(pl_module.parameters()):
            name = next(name for name, parameter in pl_module.named_parameters() if not _finite([parameter]))
            raise DivergedError(f"the weights of {name} are not finite after step {trainer.global_step}", REMEDY)


def _scaled(trainer: Trainer) -> bool:
    return isinstance(trainer.precision_plugin, MixedPrecision) and trainer.precision_plugin.scaler is not None


def _finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether all numbers are finite."""
    tensors = [tensor.detach() for tensor in tensors]
    # The norm is checked first, since it is quickest and asks the device once; it may overflow where no number does.
    return bool(torch.isfinite(get_total_norm(tensors))) or all(bool(torch.isfinite(tensor).all()) for tensor in tensors)


def _find(trainer: Trainer, pl_module: LightningModule, batch: Any, loss: Tensor) -> tuple[int, str]:
    """Return how near to its origin the fault was found (0 is nearest), and where, in words."""
    images, found = batch[0], list[str]()
    with ExitStack() as hooks, torch.no_grad(), trainer.precision_plugin.forward_context():
        for name, module in pl_module.named_modules():
            handle = module.register_forward_hook(partial(_note, name.partition(".parametrizations")[0], found))
            hooks.callback(handle.remove)
        pl_module(images)
    if not _finite([images]):
        return 0, "an image of the batch is not finite"
    if found:
        return 1, f"the first output that is not finite is that of {found[0]}"
    if not _finite([loss]):
        return 2, f"the loss is {loss.item()}, of logits that are finite"
    gradients = [name for name, p in pl_module.named_parameters() if p.grad is not None and not _finite([p.grad])]
    return 3, f"the first gradient that is not finite, from the end, is that of {gradients[-1] if gradients else 'no parameter'}"


def _note(name: str, found: list[str], module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001 - torch's signature
    tensors = [leaf for leaf in leaves(output) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
    if tensors and not found and not _finite(tensors):
        found.append(f"{name} ({type(module).__name__})")


def _from_all(trainer: Trainer, found: tuple[int, str]) -> list[tuple[int, str]]:
    """Return what each process has found."""
    everywhere = [found] * trainer.world_size
    if trainer.world_size > 1:
        distributed.all_gather_object(everywhere, found)
    return everywhere
