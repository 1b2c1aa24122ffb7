"""Learning-rate schedules, made from the optimizer and the number of its steps, and moved at every step.

A schedule of torch can be used directly if its second argument is a number of steps, as that of
``torch.optim.lr_scheduler.CosineAnnealingLR`` is. This module has schedules that torch lacks or that take other arguments there.
The optimizer's learning rate is always the largest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LinearLR, OneCycleLR, SequentialLR

from sll_zoo.errors import ConfigError


class TriangularLR(LambdaLR):
    """Linear from 0 up to the optimizer's rate at 2/5 of the training, down to 1/20 of it at 4/5, down to 0 at the end.

    Args:
        optimizer: Whose learning rate is the peak.
        total_steps: Optimizer steps of the whole training.

    Source: the paper's recipe, as in its released code.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int) -> None:
        knots = [0.0, 0.4 * total_steps, 0.8 * total_steps, float(total_steps)]

        # The schedule is evaluated at the middle of each step: neither the first nor the last rate is 0.
        def factor(step: int) -> float:
            return float(np.interp(step + 0.5, knots, [0.0, 1.0, 0.05, 0.0]))

        super().__init__(optimizer, factor)


class WarmupCosineLR(SequentialLR):
    """Linear up to the optimizer's rate over the first part of the training, then half a cosine down to 0.

    Args:
        optimizer: Whose learning rate is the peak.
        total_steps: Optimizer steps of the whole training.
        warmup: Fraction of the steps in the first part; the default is that of LiResNet and BRONet, 20 of 800 epochs.

    Raises:
        ConfigError: A ``warmup`` outside [0, 1).

    Source: SGDR, Loshchilov and Hutter 2017 (arXiv 1608.03983), without restarts.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup: float = 0.025) -> None:
        if not 0 <= warmup < 1:
            raise ConfigError(f"warmup={warmup}", "give a fraction of the training, from 0 to below 1")
        first = int(warmup * total_steps)
        rise = LinearLR(optimizer, start_factor=1 / (first + 1), total_iters=first)
        fall = CosineAnnealingLR(optimizer, total_steps - first)
        super().__init__(optimizer, [rise, fall] if first else [fall], [first] if first else [])


class OneCycle(OneCycleLR):
    """torch's ``OneCycleLR``, with the optimizer's rate as ``max_lr``.

    Args:
        optimizer: Whose learning rate is the peak.
        total_steps: Optimizer steps of the whole training.
        **options: The others of ``torch.optim.lr_scheduler.OneCycleLR``. By default it cycles the momentum, too.

    Source: Smith and Topin 2019 (arXiv 1708.07120); "1-Lipschitz Layers Compared" trains with it (arXiv 2311.16833).
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, **options: Any) -> None:
        rates = [group["lr"] for group in optimizer.param_groups]
        super().__init__(optimizer, rates, total_steps=total_steps, **options)


class Constant(LambdaLR):
    """The optimizer's rate throughout.

    Args:
        optimizer: Whose learning rate it is.
        total_steps: Not used.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int) -> None:  # noqa: ARG002 - as all schedules
        super().__init__(optimizer, lambda _: 1.0)
