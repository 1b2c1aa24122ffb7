"""Mean certified radius and the curve of certified accuracy over all radii, from the radius of every image.

Reference: average certified radius, Zhai et al. 2020, "MACER" (arXiv 2001.02378).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics.utilities import rank_zero_warn
from torchmetrics.utilities.data import dim_zero_cat
from torchmetrics.utilities.plot import plot_curve

from sll_zoo.errors import ConfigError
from sll_zoo.functional.norms import Norm, norm_label
from sll_zoo.metrics.base import Average, CertificateMetric

# A misclassified image counts with this radius: below every true one.
WRONG = -1

Curve = tuple[Tensor, Tensor] | tuple[list[Tensor], list[Tensor]]


class RadiusMetric(CertificateMetric):
    """A metric that keeps the radius and the class of every image, 16 bytes for each image.

    A radius is kept as an integer with the bits of its float64: these integers have the same order, and no change of dtype rounds
    them. All subclasses have the same states, so that the metrics of a collection share them.
    """

    bits: list[Tensor]
    target: list[Tensor]

    def __init__(self, average: Average = "micro", num_classes: int | None = None, norm: Norm = "2", **kwargs: Any) -> None:
        super().__init__(average, num_classes, norm, **kwargs)
        self.add_state("bits", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def sync(self, *args: Any, **kwargs: Any) -> None:
        """Gather the states of all processes; a process without images takes part with empty states."""
        # Empty states need a dtype: torchmetrics would let a process without images send floats where others send integers.
        for state in (self.bits, self.target):
            if isinstance(state, list) and not state:
                state.append(torch.zeros(0, dtype=torch.long, device=self.device))
        super().sync(*args, **kwargs)

    def _count(self, target: Tensor, correct: Tensor, radius: Tensor) -> None:
        self.bits.append(torch.where(correct, radius.view(torch.long), WRONG))
        self.target.append(target)

    def _by_group(self) -> list[Tensor]:
        """Return the bits of each group, sorted."""
        bits, order = dim_zero_cat(self.bits).sort()
        group = self._group(dim_zero_cat(self.target))[order]
        return [bits[group == index] for index in range(self.groups)]


class MeanCertifiedRadius(RadiusMetric):
    """The mean over the images of the certified radius, 0 where the prediction is wrong; also called ACR.

    The sum is exact and rounded once, so it is the same on any number of processes and for any order of the images.

    A radius can be infinite (constants of 0, a single class). Then the mean is infinite, too, with a warning; ``cap`` makes it
    finite. No two images of d values in [0, 1] are further apart than √d in L2 and 1 in L∞, so that such a cap loses nothing.

    Args:
        cap: Radii above this count as this, in the units of the input.
        average: As in :class:`~sll_zoo.metrics.base.CertificateMetric`.
        num_classes: As there.
        norm: As there.
        **kwargs: Those of ``torchmetrics.Metric``.

    Raises:
        ConfigError: A cap that is not positive.

    Example:
        >>> import torch
        >>> metric = MeanCertifiedRadius()
        >>> metric.update(torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 0]), 2.0)
        >>> metric.compute().item()
        0.5
    """

    def __init__(
        self,
        cap: float = math.inf,
        average: Average = "micro",
        num_classes: int | None = None,
        norm: Norm = "2",
        **kwargs: Any,
    ) -> None:
        super().__init__(average, num_classes, norm, **kwargs)
        if not cap > 0:
            raise ConfigError(f"cap={cap}", "give a positive radius, for example the diameter of the images")
        self.cap = float(cap)

    def compute(self) -> Tensor:
        """Return the mean radius in float64, NaN before the first image: one number, or (classes,)."""
        radii = [_radius(bits).clamp(max=self.cap).tolist() for bits in self._by_group()]
        means = torch.tensor([math.fsum(group) / len(group) if group else math.nan for group in radii], dtype=torch.float64)
        if means.isinf().any():
            count = sum(group.count(math.inf) for group in radii)
            rank_zero_warn(f"the mean radius is infinite, as that of {count} images is: give cap=, the diameter of the images")
        return self._averaged(means.to(self.device))


class CertifiedAccuracyCurve(RadiusMetric):
    """Certified accuracy at every radius: a staircase that falls at the radius of each correct image.

    ``radii, accuracy = metric.compute()``: at radius 0 certified accuracy is ``accuracy[0]``, clean accuracy; at an ε > 0 it is
    ``accuracy[i]`` with the last ``i`` for which ``radii[i]`` ≤ ε. A correct tie, certified at no ε > 0, is a step at 0. Images
    with an infinite radius are certified at every ε: the staircase does not reach 0.

    Args:
        average: As in :class:`~sll_zoo.metrics.base.CertificateMetric`; ``None`` gives lists, a curve for each class.
        num_classes: As there.
        norm: As there.
        **kwargs: Those of ``torchmetrics.Metric``.

    Example:
        >>> import torch
        >>> metric = CertifiedAccuracyCurve()
        >>> metric.update(torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1]), 2.0)
        >>> [values.tolist() for values in metric.compute()]
        [[0.0, 0.5, 1.0], [1.0, 0.3333333333333333, 0.0]]
    """

    plot_upper_bound = 1.0

    def compute(self) -> Curve:
        """Return radii and certified accuracy in float64, (steps,) each, NaN before the first image; or lists of such.

        A curve without a step down is a single point, which torchmetrics returns as a scalar.
        """
        groups = self._by_group()
        if self.average is None:
            steps = [_steps(bits) for bits in groups]
            curves = zip(steps, groups, strict=True)
            return [_radius(step) for step in steps], [_accuracy(step, bits) for step, bits in curves]
        step = _steps(torch.cat(groups))
        # Classes are counted one by one: a matrix (classes, steps) may not fit into memory.
        present = [bits for bits in groups if len(bits)]
        total = sum((_accuracy(step, bits) for bits in present), torch.zeros_like(step, dtype=torch.float64))
        return _radius(step), total / len(present)

    def plot(self, val: Curve | None = None, ax: Any = None) -> Any:
        """Draw the staircase, or one for each class; see :meth:`CertificateMetric.plot`. Curves over time are not supported."""
        radii, accuracy = self.compute() if val is None else val
        labels = (f"{norm_label(self.norm)} radius", "certified accuracy")
        if isinstance(radii, Tensor) and isinstance(accuracy, Tensor):
            curve: Any = _corners(radii, accuracy)
        else:
            curve = tuple(map(list, zip(*map(_corners, radii, accuracy), strict=True)))
        return plot_curve(curve, ax=ax, label_names=labels, legend_name="class", name=type(self).__name__)


def _radius(bits: Tensor) -> Tensor:
    """Return radii in float64, 0 for WRONG."""
    return bits.clamp(min=0).view(torch.float64)


def _steps(bits: Tensor) -> Tensor:
    """Return the radii at which the curve of these images falls, in bits: WRONG, which is below 0, and each finite radius."""
    finite = bits[(bits > WRONG) & _radius(bits).isfinite()]
    return torch.cat([bits.new_full((1,), WRONG), torch.unique(finite)])


def _accuracy(steps: Tensor, bits: Tensor) -> Tensor:
    """Return the fraction of ``bits``, sorted, that lie above each of ``steps``."""
    return (len(bits) - torch.searchsorted(bits, steps, right=True)).double() / len(bits)


def _corners(radii: Tensor, accuracy: Tensor) -> tuple[Tensor, Tensor]:
    """Return both ends of every step: a line through them is a staircase."""
    return radii.reshape(-1).repeat_interleave(2)[1:], accuracy.reshape(-1).repeat_interleave(2)[:-1]
