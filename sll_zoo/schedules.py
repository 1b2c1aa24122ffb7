"""Learning-rate schedules that torch does not have."""

from __future__ import annotations

import numpy as np
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


class TriangularLR(LambdaLR):
    """Linear from 0 up to the optimizer's rate at 2/5 of the training, down to 1/20 of it at 4/5, down to 0 at the end.

    Args:
        optimizer: Whose learning rate is the peak.
        total_steps: Optimizer steps of the whole training.

    Source: the paper's recipe, as in its released code.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int) -> None:
        knots = [0.0, 0.4 * total_steps, 0.8 * total_steps, float(total_steps)]

        # Rates are taken in the middle of each step, so that neither the first nor the last is 0.
        def factor(step: int) -> float:
            return float(np.interp(step + 0.5, knots, [0.0, 1.0, 0.05, 0.0]))

        super().__init__(optimizer, factor)
