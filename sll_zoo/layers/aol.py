"""Almost-orthogonal Lipschitz layers (AOL): the linear form with T = diag Σⱼ |WᵀW|ᵢⱼ.

Reference: Prach and Lampert, "Almost-Orthogonal Layers for Efficient General-Purpose Lipschitz Networks", ECCV 2022
(arXiv 2208.03160).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from sll_zoo.functional.fast.products import full_precision
from sll_zoo.functional.rescaling import row_sums, safe_reciprocal, to_unit_size
from sll_zoo.layers.linear_form import LipschitzConv2d, LipschitzLinear


def _constrained(weight: Tensor) -> Tensor:
    """Return W T^{-1/2}: a factor for each input."""
    with full_precision(weight.device.type):
        weight = to_unit_size(weight)  # W T^{-1/2} does not depend on the size of W
        columns = weight.transpose(0, 1)
        t = row_sums(columns, weight.new_ones(()), log_q=weight.new_zeros(len(columns)))
        return weight * safe_reciprocal(t).sqrt().view(1, -1, *(1,) * (weight.ndim - 2))


class AOLLinear(LipschitzLinear):
    """‖W T^{-1/2}‖ ≤ 1 with Tᵢ = Σⱼ |WᵀW|ᵢⱼ: see :class:`~sll_zoo.layers.linear_form.LipschitzLinear` for the arguments.

    Of all T that are diagonally dominant over WᵀW this is the smallest, and the nearest to making W T^{-1/2} orthogonal.

    Guarantee: in exact arithmetic, for any weights; in float64 to 1e-9, in float32 to 1e-5 (``tests/test_laws.py``).

    Example:
        >>> import torch
        >>> AOLLinear(4, 3)(torch.zeros(2, 4)).shape
        torch.Size([2, 3])

    Source: the paper above.
    """

    def constrained_weight(self) -> Float[Tensor, "out in_"]:
        """Return W T^{-1/2}."""
        return _constrained(self.weight)


class AOLConv2d(LipschitzConv2d):
    """The same for a convolution, at every image size: see :class:`~sll_zoo.layers.linear_form.LipschitzConv2d`.

    Example:
        >>> import torch
        >>> AOLConv2d(4, 3)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 3, 8, 8])

    Source: as for :class:`AOLLinear`; sums over all shifts of the kernel.
    """

    def constrained_weight(self) -> Float[Tensor, "out in_ k k"]:
        """Return W T^{-1/2}."""
        return _constrained(self.weight)
