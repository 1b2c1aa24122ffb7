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
    """Return W T^{-1/2}: each column of W, one for each input, is multiplied by a factor."""
    with full_precision(weight.device.type):
        weight = to_unit_size(weight)  # W T^{-1/2} does not depend on the size of W
        columns = weight.transpose(0, 1)
        t = row_sums(columns, weight.new_ones(()), log_q=weight.new_zeros(len(columns)))
        return weight * safe_reciprocal(t).sqrt().view(1, -1, *(1,) * (weight.ndim - 2))


class AOLLinear(LipschitzLinear):
    """1-Lipschitz linear map x ↦ W T^{-1/2} x + b, with Tᵢ = Σⱼ |WᵀW|ᵢⱼ: (batch, in_features) → (batch, out_features).

    Of all diagonal T for which T − WᵀW is diagonally dominant, this is the smallest, and makes W T^{-1/2} most nearly orthogonal.

    Args:
        in_features: Size of the input.
        out_features: Size of the output.
        bias: Whether to add a bias.
        **placement: ``device`` and ``dtype`` of the parameters.

    Guarantee: in exact arithmetic, for any weights; in float64 to 1e-9, in float32 to 1e-5 (``tests/test_laws.py``).

    Raises:
        ConfigError: A size below 1.

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
    """1-Lipschitz convolution, :class:`AOLLinear` for kernels: (batch, in_channels, h, w) → (batch, out_channels, h, w).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd.
        bias: Whether to add a bias.
        padding_mode: ``zeros`` or ``circular``.
        **placement: ``device`` and ``dtype`` of the parameters.

    Guarantee: as for :class:`AOLLinear`, for every image size.

    Raises:
        ConfigError: An even kernel, or a size below 1.

    Example:
        >>> import torch
        >>> AOLConv2d(4, 3)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 3, 8, 8])

    Source: as for :class:`AOLLinear`; sums over all shifts of the kernel.
    """

    def constrained_weight(self) -> Float[Tensor, "out in_ k k"]:
        """Return W T^{-1/2}."""
        return _constrained(self.weight)
