"""Training as a LightningModule: a network of the zoo, with loss, optimizer and schedule handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sll_zoo.certificates.certification import certificate_of, check_images, check_range, evaluation_form
from sll_zoo.errors import ConfigError
from sll_zoo.functional.certificate import RADII_IN, check_labels
from sll_zoo.functional.norms import diameter
from sll_zoo.losses import OffsetCrossEntropy
from sll_zoo.losses.base import apply_loss
from sll_zoo.metrics import CertifiedAccuracy, MeanCertifiedRadius
from sll_zoo.metrics.padding import require_each_once
from sll_zoo.models import LipschitzClassifier
from sll_zoo.training.network import kept_of, made_or_given, without_path
from sll_zoo.training.optimizers import ScheduledModule
from sll_zoo.training.schedules import TriangularLR
from sll_zoo.training.strategies import require_whole_network

Batch = tuple[Tensor, Tensor]


def paper_optimizer(parameters: Any) -> Optimizer:
    """Return Adam as the SLL paper sets it: rate 0.01, betas (0.5, 0.9), no weight decay."""
    return Adam(parameters, lr=0.01, betas=(0.5, 0.9))


class CertifiedClassifier(ScheduledModule):
    """Trains a network of the zoo for certified accuracy; the network itself is :attr:`model`.

    Logs ``train/loss`` and its mean ``train/epoch_loss``, ``val/loss``, ``val/acc``, ``val/mean_radius``, and
    ``val/certified_acc_36`` and so on (ε in 255ths). The same comes under ``test/``, where the network runs in float64;
    validation, which only steers, runs in the precision of the training. Both count every image once on any number of processes,
    and refuse loaders that repeat some (:mod:`sll_zoo.data.loading` has one that does not).

    The certificate holds for any weights, hence also after fine-tuning, of the head alone or of all layers. Images must be in
    [0, 1]: each batch that is certified is checked, and the first batch of a training.

    Args:
        name: A name for :func:`~sll_zoo.create_model`, or a network, which is trained as it is.
        pretrained: Whether to start from published weights, those of a folder, or those of a checkpoint.
        model_args: Further arguments for ``create_model``, such as ``num_classes``.
        loss: Module of (logits, target), or a :class:`~sll_zoo.losses.CertificateLoss`; by default the paper's offset
            cross-entropy. It is given float32 at least, whatever the precision of the network.
        optimizer: Makes the optimizer from groups of parameters, with no weight decay for log q; by default the paper's Adam.
        scheduler: Makes the schedule from the optimizer and the number of its steps; by default the paper's triangular one.
        radii: Radii in pixels of [0, 1], in the network's norm, at which certified accuracy is logged; by default ``RADII_IN``
            of this norm.
        head_only: Whether to train the head alone, on a pretrained body.
        layer_decay: The learning rate of a layer is this times that of the layer after it; the head's is the optimizer's.

    Attributes:
        start: Name of the weights that the network started from, without the path to a folder or a checkpoint; None unless
            ``pretrained``.
        lr: The largest learning rate in place of the optimizer's own, which Lightning's ``Tuner.lr_find`` sets; None for its own.

    Raises:
        ConfigError: ``head_only`` with an untrained body, a ``layer_decay`` outside (0, 1], or a network together with
            ``pretrained`` or ``model_args``.

    Example:
        >>> task = CertifiedClassifier("sll_nano.digits", loss=OffsetCrossEntropy(offset=0.5))
        >>> task.model.num_classes
        10
    """

    def __init__(
        self,
        name: str | LipschitzClassifier,
        pretrained: bool = False,
        model_args: dict[str, Any] | None = None,
        loss: nn.Module | None = None,
        optimizer: Callable[[Any], Optimizer] = paper_optimizer,
        scheduler: Callable[[Optimizer, int], LRScheduler] = TriangularLR,
        radii: Sequence[float] | None = None,
        head_only: bool = False,
        layer_decay: float = 1.0,
    ) -> None:
        super().__init__()
        if head_only and not pretrained and isinstance(name, str):
            raise ConfigError("head_only with an untrained body", "give pretrained=True, or train the body as well")
        if not 0 < layer_decay <= 1:
            raise ConfigError(f"layer_decay={layer_decay}", "give a factor above 0, at most 1")
        self.model = made_or_given(name, pretrained, model_args)
        self.start = without_path(str(name)) if pretrained else None
        # Hyperparameters are plain values, so that a checkpoint loads with weights_only=True. ``pretrained`` is not among them,
        # since the weights then come from the checkpoint.
        norm = self.model.norm
        self.radii = RADII_IN[norm] if radii is None else tuple(radii)
        self.save_hyperparameters({**kept_of(name, model_args, self.model), "radii": self.radii})
        if head_only:
            self.model.requires_grad_(False).get_classifier().requires_grad_(True)
        self.loss = OffsetCrossEntropy() if loss is None else loss
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.layer_decay = layer_decay
        self._is_checked = False
        at, cap = [0.0, *self.radii], diameter(self.model.config.input_shape, norm)
        self.val_accuracy, self.test_accuracy = CertifiedAccuracy(at, norm=norm), CertifiedAccuracy(at, norm=norm)
        self.val_radius, self.test_radius = MeanCertifiedRadius(cap, norm=norm), MeanCertifiedRadius(cap, norm=norm)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (batch, num_classes) of images in [0, 1]."""
        logits: Tensor = self.model(images)
        return logits

    def on_fit_start(self) -> None:
        """Refuse data of another number of classes, where the data module names them."""
        self._is_checked = False
        data = getattr(self.trainer, "datamodule", None)
        names = getattr(data, "class_names", None)
        if names is not None and len(names) != self.model.num_classes:
            raise ConfigError(
                f"{self.model.num_classes} logits for {len(names)} classes of {getattr(data, 'name', type(data).__name__)}",
                f"give --model.model_args.num_classes {len(names)} (model_args={{'num_classes': {len(names)}}})",
            )

    def training_step(self, batch: Batch) -> Tensor:
        """Return the loss of a batch; the first one is checked: images in [0, 1], as certificates need it, and labels."""
        images, target = batch
        if not self._is_checked:
            check_range(images)
            if isinstance(target, Tensor) and not target.is_floating_point():
                check_labels(target[target >= 0], self.model.num_classes)  # a loss may ignore negative ones
            self._is_checked = True
        loss = self._loss(self(images), target, self.progress())
        self.log("train/loss", loss, prog_bar=True, batch_size=len(target))
        self.log("train/epoch_loss", loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(target))
        return loss

    def on_validation_start(self) -> None:
        """Refuse loaders that give some image twice, and set the sums of the loss to zero."""
        require_each_once(self.trainer.val_dataloaders)
        # Sum of the losses and number of images: Lightning's own mean over processes gives too much weight to small shares.
        self._val_loss = torch.zeros(2, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Batch) -> None:
        """Add a batch to the loss and the metrics."""
        images, target = batch
        check_range(images)
        logits = _at_least_float32(self(images))
        # Batches without images are possible on some processes; their mean loss would be NaN.
        if len(target):
            loss = self._loss(logits, target, progress=1.0)
            self._val_loss += len(target) * torch.stack([loss.double(), self._val_loss.new_ones(())])
        constants = self.model.pairwise_lipschitz()
        for metric in (self.val_accuracy, self.val_radius):
            metric.update(logits, target, constants, self.model.norm)

    def on_validation_epoch_end(self) -> None:
        """Log the epoch's loss and accuracies."""
        loss, images = cast("Tensor", self.all_gather(self._val_loss)).reshape(-1, 2).sum(0)
        self._log({"val/loss": loss / images})
        self._log_certificates("val", self.val_accuracy, self.val_radius)

    def on_test_start(self) -> None:
        """Refuse loaders that give some image twice, and fold the network."""
        require_each_once(self.trainer.test_dataloaders)
        self.on_predict_start()

    def on_predict_start(self) -> None:
        """Fold the network in float64, once for the whole run; refuse strategies that divide it among processes."""
        require_whole_network(self.trainer, self, "test and predict with strategy auto or ddp, which read its checkpoints")
        # The folded network is in a list, so that it is no submodule and stays out of checkpoints.
        self._folded = [cast("LipschitzClassifier", evaluation_form(self.model))]

    def test_step(self, batch: Batch) -> None:
        """Add a batch, evaluated in float64, to the metrics."""
        images, target = batch
        check_images(images)
        (model,) = self._folded
        logits, constants = model(images.double()), model.pairwise_lipschitz()
        for metric in (self.test_accuracy, self.test_radius):
            metric.update(logits, target, constants, model.norm)

    def on_test_epoch_end(self) -> None:
        """Log the accuracies."""
        self._log_certificates("test", self.test_accuracy, self.test_radius)

    def predict_step(self, batch: Tensor | Sequence[Tensor]) -> dict[str, Any]:
        """Return the certificate of a batch: ``prediction``, ``radius`` and ``slack``, (batch,) each, and their ``norm``.

        A batch is images, or a sequence that begins with them, such as images and labels.
        """
        images = batch[0] if isinstance(batch, Sequence) else batch
        return vars(certificate_of(self._folded[0], images))

    def _loss(self, logits: Tensor, target: Tensor, progress: float) -> Tensor:
        return apply_loss(self.loss, _at_least_float32(logits), target, self.model.pairwise_lipschitz, progress)

    def _log_certificates(self, stage: str, accuracy: CertifiedAccuracy, radius: MeanCertifiedRadius) -> None:
        clean, *certified = accuracy.compute().reshape(-1)
        values = {f"{stage}/certified_acc_{255 * eps:.6g}": value for eps, value in zip(self.radii, certified, strict=True)}
        shown = {f"{stage}/acc": clean} | dict(list(values.items())[:1])
        self._log(shown, prog_bar=True)
        self._log({f"{stage}/mean_radius": radius.compute()} | {key: values[key] for key in values if key not in shown})
        accuracy.reset()
        radius.reset()

    def _log(self, values: dict[str, Tensor], prog_bar: bool = False) -> None:
        """Log values that are equal on all processes: their maximum is exact, while their mean could be rounded."""
        self.log_dict(values, prog_bar=prog_bar, sync_dist=True, reduce_fx="max")


def _at_least_float32(logits: Tensor) -> Tensor:
    """Return logits in float32 at least: a network may compute in bfloat16, its loss and its metrics must not."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
