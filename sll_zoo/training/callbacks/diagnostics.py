"""Logging values that show when a training goes wrong, besides loss and accuracy."""

from __future__ import annotations

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from sll_zoo.training.strategies import require_whole_network


class LogDiagnostics(Callback):
    """Logs the norm of the gradient, the learning rate, and how far log q is spread in each layer.

    ``train/grad_norm`` is the L2 norm over all parameters, before clipping and after DDP's average; ``train/lr`` the largest rate
    of any group, the head's. Both come every ``log_every_n_steps``. ``log_q_spread/layer``, max − min of log q, comes once an
    epoch: where it is 0, q has learned nothing and T is AOL's.

    Raises:
        ConfigError: A strategy other than DDP, under which a process may have only a part of the gradient.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Refuse a strategy that divides gradients among processes."""
        require_whole_network(trainer, self)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Log the norm of the gradient and the learning rate, every ``log_every_n_steps``."""
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        if not every or (trainer.global_step + 1) % every:
            return
        gradients = [parameter.grad for parameter in pl_module.parameters() if parameter.grad is not None]
        rate = max(group["lr"] for group in optimizer.param_groups)
        pl_module.log_dict({"train/grad_norm": get_total_norm(gradients), "train/lr": rate})

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Log the spread of each layer that has a log q."""
        pl_module.log_dict(
            {
                f"log_q_spread/{name.removeprefix('model.').removesuffix('.log_q')}": _spread(log_q)
                for name, log_q in pl_module.named_parameters()
                if name.endswith(".log_q")
            },
            sync_dist=True,  # without it Lightning warns, although the values are the same on all processes
        )


def _spread(log_q: Tensor) -> Tensor:
    return log_q.max() - log_q.min()
