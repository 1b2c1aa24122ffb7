"""The base class of the metrics: input and its checks, and averages over classes.

Their states are integers, so that no order of images, batches or processes, and no change of dtype, can change a result.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from sll_zoo.errors import ConfigError, InputError
from sll_zoo.functional.certificate import certified_radius, check_constants, check_labels, largest_magnitude
from sll_zoo.functional.norms import Norm, common_norm, require_norm

Average = Literal["micro", "macro"] | None
LOGIT_DTYPES = (torch.float32, torch.float64)
LABEL_DTYPES = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class CertificateMetric(Metric):
    """A metric of certificates, in one pass over batches of logits.

    Args:
        average: ``"micro"`` counts every image alike; ``"macro"`` is the mean over the classes that have images; ``None`` gives
            one value for each class, NaN for those without images.
        num_classes: Number of classes; needed for ``"macro"`` and ``None``.
        norm: Norm of the radii, that of the networks whose logits are counted: ``"2"`` or ``"inf"``.
        **kwargs: Those of ``torchmetrics.Metric``.

    Raises:
        ConfigError: Another average, or no number of classes where one is needed.
        InputError: Another norm.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0

    def __init__(self, average: Average = "micro", num_classes: int | None = None, norm: Norm = "2", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm = require_norm(norm, type(self).__name__)
        if average not in ("micro", "macro", None):
            raise ConfigError(f"average={average!r}", "choose 'micro', 'macro' or None")
        if average != "micro" and (num_classes is None or num_classes < 1):
            raise ConfigError(f"average={average!r} with num_classes={num_classes}", "give the number of classes")
        self.average = average
        self.num_classes = num_classes
        self.groups = 1 if average == "micro" else int(num_classes or 1)

    def update(self, logits: Tensor, target: Tensor, pairwise_lipschitz: Tensor | float, norm: Norm = "2") -> None:
        """Count a batch.

        Args:
            logits: (batch, classes), float32 or float64. A row that is not finite counts as wrong.
            target: Class indices (batch,).
            pairwise_lipschitz: Lipschitz constants of the logit differences, (classes, classes) or one number for all pairs.
            norm: The norm of these constants, ``model.norm``.

        Raises:
            InputError: Another norm than the metric's, shapes, dtypes or devices that do not fit, labels that are no class,
                constants that are negative, not finite or not symmetric. Nothing of the batch has been counted then.
        """
        common_norm([self.norm, norm])
        self._check(logits, target, pairwise_lipschitz)
        constants = torch.as_tensor(pairwise_lipschitz, dtype=torch.float64, device=logits.device)
        check_constants(constants, logits.shape[1])
        prediction, radius = certified_radius(logits, constants)
        correct = (prediction == target) & largest_magnitude(logits).isfinite()
        self._count(target.long(), correct, radius)

    def set_dtype(self, dst_type: str | torch.dtype) -> CertificateMetric:  # noqa: ARG002 - torchmetrics' signature
        """Return the metric as it is: in a smaller dtype its counts would no longer be exact."""
        return self

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the value by :mod:`torchmetrics.utilities.plot`, with a point for each class where there are several.

        Args:
            val: A result of ``compute`` or ``forward``, or a list of results over time; by default the current value.
            ax: Axes of matplotlib to draw into.

        Returns:
            Figure and axes.
        """
        return self._plot(val, ax)

    def _count(self, target: Tensor, correct: Tensor, radius: Tensor) -> None:
        """Add a batch to the states: the class of each image, whether it is classified correctly, and its radius."""
        raise NotImplementedError

    def _group(self, target: Tensor) -> Tensor:
        """Return the group that each image counts for: its class, or the only one."""
        return torch.zeros_like(target) if self.average == "micro" else target

    def _averaged(self, values: Tensor) -> Tensor:
        """Return the requested average of ``values`` (groups, ...), NaN where a group has no image."""
        return values if self.average is None else values.nanmean(0)

    def _check(self, logits: Tensor, target: Tensor, pairwise_lipschitz: Tensor | float) -> None:
        given = {"the metric": self.device, "logits": logits.device, "target": target.device}
        if isinstance(pairwise_lipschitz, Tensor):
            given["pairwise_lipschitz"] = pairwise_lipschitz.device
        if len(set(given.values())) > 1:
            places = ", ".join(f"{name} on {device}" for name, device in given.items())
            raise InputError(places, "bring all to one device; metric.to(device) moves the metric")
        if logits.ndim != 2 or not logits.shape[1] or target.shape != logits.shape[:1]:
            raise InputError(
                f"logits of shape {tuple(logits.shape)} with target of shape {tuple(target.shape)}",
                "give (batch, classes) and (batch,)",
            )
        if logits.dtype not in LOGIT_DTYPES:
            raise InputError(
                f"logits of dtype {logits.dtype}",
                "evaluate the network in float32 or float64: a certificate takes more digits",
            )
        classes = logits.shape[1]
        if self.num_classes not in (None, classes):
            raise InputError(f"logits of {classes} classes for a metric of {self.num_classes}", "give num_classes of the network")
        if target.dtype not in LABEL_DTYPES:
            raise InputError(f"target of dtype {target.dtype}", "give class indices, for example target.long()")
        check_labels(target, classes)
