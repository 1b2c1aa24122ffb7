"""Certified accuracy at given radii: integer counts, in one pass for any number of radii."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sll_zoo.errors import ConfigError
from sll_zoo.functional.certificate import RADII_IN, certified_at, radius_label
from sll_zoo.functional.norms import Norm, norm_label
from sll_zoo.metrics.base import Average, CertificateMetric


class CertifiedAccuracy(CertificateMetric):
    """The fraction of images that are classified correctly throughout a ball; also called CRA or VRA.

    Args:
        radii: Radii in the units of the input (pixels of [0, 1]), any number in one pass; 0 is clean accuracy. By default
            ``RADII_IN`` of the norm.
        average: As in :class:`CertificateMetric`.
        num_classes: As in :class:`CertificateMetric`.
        norm: As in :class:`CertificateMetric`.
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

    plot_upper_bound = 1.0

    certified: Tensor
    total: Tensor

    def __init__(
        self,
        radii: Sequence[float] | None = None,
        average: Average = "micro",
        num_classes: int | None = None,
        norm: Norm = "2",
        **kwargs: Any,
    ) -> None:
        super().__init__(average, num_classes, norm, **kwargs)
        self.radii = tuple(float(eps) for eps in (RADII_IN[norm] if radii is None else radii))
        if not self.radii or not all(0 <= eps < float("inf") for eps in self.radii):
            raise ConfigError(f"radii={self.radii}", "give at least one radius, finite and not negative")
        self.add_state("certified", torch.zeros(self.groups, len(self.radii), dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(self.groups, dtype=torch.long), dist_reduce_fx="sum")
        # This state is needed for its name only: a MetricCollection merges metrics whose states have the same names and are equal
        # after the first batch, as counts at other radii can be.
        name = " ".join("{}/{}".format(*eps.as_integer_ratio()) for eps in self.radii)
        self.add_state(f"radii {name}", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def compute(self) -> Tensor:
        """Return certified accuracy in float64, between 0 and 1, NaN before the first image: (radii,), or (classes, radii)."""
        return self._averaged(self.certified.double() / self.total[:, None])

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Draw a point for each radius, or a line over the classes; see :meth:`CertificateMetric.plot`."""
        values = self.compute() if val is None else val
        by_radius = self._by_radius(values) if isinstance(values, Tensor) else [self._by_radius(value) for value in values]
        axes: Any
        figure, axes = self._plot(by_radius, ax)
        if self.average is None and isinstance(values, Tensor):
            axes.set_xlabel("class")
        return figure, axes

    def _by_radius(self, values: Tensor) -> dict[str, Tensor]:
        columns = values.reshape(-1, len(self.radii)).unbind(1)
        norm = norm_label(self.norm)
        return {f"{norm}, ε = {radius_label(eps)}": column.squeeze(0) for eps, column in zip(self.radii, columns, strict=True)}

    def _count(self, target: Tensor, correct: Tensor, radius: Tensor) -> None:
        group, hits = self._group(target), certified_at(correct, radius, self.radii)
        self.certified = self.certified.index_add(0, group, hits.long())
        self.total = self.total.index_add(0, group, torch.ones_like(group))
