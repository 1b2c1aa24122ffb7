"""Groups of parameters for an optimizer, each with its factor of the learning rate, and the LightningModule that uses them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from lightning import Callback, LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sll_zoo.errors import ConfigError
from sll_zoo.models import LipschitzClassifier
from sll_zoo.training.accumulation import DeriveOnceAStep

LR_FACTOR = "lr_factor"


def parameter_groups(model: LipschitzClassifier, layer_decay: float = 1.0) -> list[dict[str, Any]]:
    """Return the parameters that require gradients, grouped for an optimizer; :func:`scale_rates` gives each group its rate.

    Weight decay spares log q, which the model's ``no_weight_decay`` names.

    Args:
        model: A network whose modules come in the order of the computation, the head last.
        layer_decay: A layer's rate is this times the rate of the layer after it; the head has the optimizer's.

    Source: layer-wise rates, Howard and Ruder 2018 (arXiv 1801.06146).
    """
    exempt, place = model.no_weight_decay(), model.group_matcher()
    last = max(place(name) for name, _ in model.named_parameters())
    groups: dict[tuple[float, bool], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in sorted(model.named_parameters(), key=lambda named: -place(named[0])):  # checkpoints rely on this order
        if parameter.requires_grad:
            groups[layer_decay ** (last - place(name)), name in exempt].append(parameter)
    return [
        {"params": parameters, LR_FACTOR: factor, **({"weight_decay": 0.0} if alone else {})}
        for (factor, alone), parameters in groups.items()
    ]


def scale_rates(optimizer: Optimizer, lr: float | None = None) -> None:
    """Multiply the learning rate of each group, or ``lr`` if given, by the group's factor; call it once, before a schedule."""
    for group in optimizer.param_groups:
        group["lr"] = (lr or group["lr"]) * group.get(LR_FACTOR, 1.0)


class ScheduledModule(LightningModule):
    """A LightningModule that trains its network by an optimizer and a schedule that are handed in.

    Attributes:
        model: The network.
        optimizer: Makes the optimizer from groups of parameters.
        scheduler: Makes the schedule from the optimizer and the number of its steps.
        layer_decay: As for :func:`parameter_groups`.
        lr: The largest learning rate in place of the optimizer's own, which Lightning's ``Tuner.lr_find`` sets; None for its own.
        growth: The callback that lets the network grow (:class:`~sll_zoo.training.callbacks.Grow`), while a trainer has it.
    """

    model: LipschitzClassifier
    optimizer: Callable[[Any], Optimizer]
    scheduler: Callable[[Optimizer, int], LRScheduler]
    layer_decay: float
    lr: float | None = None
    growth: Any = None
    _made_with: float | None = None  # learning rate of the current optimizer

    def configure_callbacks(self) -> list[Callback]:
        """Return the callback by which accumulated gradients share one T, unless the trainer has it already."""
        present = any(isinstance(callback, DeriveOnceAStep) for callback in self.trainer.callbacks)  # type: ignore[attr-defined]
        return [] if present else [DeriveOnceAStep()]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer and its schedule, which moves at every step.

        Raises:
            ConfigError: The trainer has no end, so that no schedule fits.
        """
        steps = self.trainer.estimated_stepping_batches
        if steps == float("inf"):
            raise ConfigError("a training without an end", "give the trainer max_epochs or max_steps: the schedule needs to know")
        self._total_steps, self._made_with = int(steps), self.lr
        stage = self.growth and self.growth.stage
        optimizer = self.optimizer(parameter_groups(self.model, self.layer_decay))
        scale_rates(optimizer, (stage and stage.lr) or self.lr)
        scheduler = self.scheduler(optimizer, round(steps * stage.epochs / self.trainer.max_epochs) if stage else int(steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the shape that a growing network had when a checkpoint of its training was written."""
        if self.growth:
            self.growth.restore(self, checkpoint)

    def on_train_start(self) -> None:
        """Make optimizer and schedule again if Lightning's ``LearningRateFinder`` has set another rate since they were made."""
        if self.lr != self._made_with:
            self.trainer.strategy.setup_optimizers(self.trainer)

    def progress(self) -> float:
        """Return the fraction of the training that is done; at most 1, as a search for the learning rate can take more steps."""
        if self.growth and self.trainer.max_epochs:  # stages may have batches of other sizes
            epoch = self.trainer.fit_loop.batch_idx / self.trainer.num_training_batches
            return (self.trainer.current_epoch + epoch) / self.trainer.max_epochs
        return min(1.0, self.trainer.global_step / self._total_steps)
