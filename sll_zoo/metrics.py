"""Certified accuracy as a torchmetric: integer counts, one pass for any number of radii, exact over any number of processes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from sll_zoo.errors import ConfigError, InputError
from sll_zoo.functional.certificate import RADII, certified_counts, certified_radius, check_constants


class CertifiedAccuracy(Metric):
    """The fraction of images that are classified correctly throughout an L2 ball; also called CRA or VRA.

    Args:
        radii: L2 radii in the units of the input (pixels of [0, 1]); 0 is clean accuracy.
        **kwargs: Those of ``torchmetrics.Metric``.

    Raises:
        ConfigError: No radius, or one that is negative or not finite.

    Example:
        >>> import torch
        >>> metric = CertifiedAccuracy([0.0, 0.5])
        >>> metric.update(torch.tensor([[2.0, 0.0], [0.1, 0.0]]), torch.tensor([0, 0]), torch.tensor(2**0.5))
        >>> metric.compute().tolist()
        [1.0, 0.5]
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    certified: Tensor
    total: Tensor

    def __init__(self, radii: Sequence[float] = RADII, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.radii = tuple(float(eps) for eps in radii)
        if not self.radii or not all(0 <= eps < float("inf") for eps in self.radii):
            raise ConfigError(f"radii={self.radii}", "give at least one radius, finite and not negative")
        self.add_state("certified", torch.zeros(len(self.radii), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, logits: Tensor, target: Tensor, pairwise_lipschitz: Tensor | float) -> None:
        """Count a batch.

        Args:
            logits: (batch, classes). A row with a NaN counts as wrong.
            target: Class indices (batch,).
            pairwise_lipschitz: Lipschitz constants of the logit differences, (classes, classes) or one number for all pairs.

        Raises:
            InputError: Shapes that do not fit, labels that are no class, a constant that is negative or NaN.
        """
        constants = torch.as_tensor(pairwise_lipschitz, dtype=torch.float64, device=logits.device)
        _check(logits, target, constants)
        prediction, radius = certified_radius(logits, constants)
        prediction = torch.where(logits.isfinite().all(1), prediction, -1)
        self.certified += certified_counts(prediction, radius, target, self.radii)
        self.total += len(target)

    def compute(self) -> Tensor:
        """Return certified accuracy (radii,) in float64, between 0 and 1; NaN before the first image."""
        return self.certified.double() / self.total


def _check(logits: Tensor, target: Tensor, constants: Tensor) -> None:
    if logits.ndim != 2 or target.shape != logits.shape[:1]:
        raise InputError(
            f"logits of shape {tuple(logits.shape)} with target of shape {tuple(target.shape)}",
            "give (batch, classes) and (batch,)",
        )
    classes = logits.shape[1]
    if target.is_floating_point() or (len(target) and not (target.min() >= 0 and target.max() < classes)):
        raise InputError(f"target with values outside 0..{classes - 1} or of dtype {target.dtype}", "give class indices")
    check_constants(constants, classes)
