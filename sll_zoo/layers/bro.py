"""Block reflectors (BRO): x ↦ x − 2 W T⁻¹ Wᵀ x with T = WᵀW, which is orthogonal for every W of full rank.

This is the SLL paper's residual form, x − 2 W T⁻¹ σ(Wᵀx + b), under its condition WᵀW ≼ T, with σ the identity. For a change Δz
of σ's argument the paper's proof needs ⟨Δσ, T⁻¹ (Δz − Δσ)⟩ ≥ 0. With an activation this takes a diagonal T; with the identity it
is 0 for every T, so that T may be full, and WᵀW itself is the smallest one. What is computed is T = WᵀW + δ I with a tiny δ: it
obeys the condition as well, and has an inverse where W has not full rank. Directions that W does not reach are left as they are.

Reference: Lai et al., "Enhancing Certified Robustness via Block Reflector Orthogonal Layers and Logit Annealing Loss", ICML 2025
(arXiv 2505.15174).
"""

from __future__ import annotations

from typing import Unpack

import torch
from jaxtyping import Float, Inexact
from torch import Tensor, nn

from sll_zoo.errors import ConfigError
from sll_zoo.functional.fast.products import full_precision
from sll_zoo.functional.orthogonal import block_reflector, of_unit_norm, operators
from sll_zoo.layers.circular import CircularLinearForm
from sll_zoo.layers.linear_form import LipschitzLinear
from sll_zoo.layers.parameters import Placement, orthogonal_, require_odd, require_sizes, weight_and_bias


class BROLinear(LipschitzLinear):
    """1-Lipschitz linear map x ↦ Q x + b, (batch, in_features) → (batch, out_features), with Q a block reflector.

    Q = I − 2 W (WᵀW)⁻¹ Wᵀ is symmetric and orthogonal, of the larger of the two sizes; the smaller one takes its first rows or
    columns. ``weight`` is V = Wᵀ, (rank, size); its own size does not matter.

    Args:
        in_features: Size of the input.
        out_features: Size of the output.
        rank: Dimension of the space that is reflected; by default half of the larger size.
        bias: Whether to add a bias.
        **placement: ``device`` and ``dtype`` of the parameters.

    Guarantee: in exact arithmetic, for any weights; in float64 to 1e-9, in float32 to 1e-5 (``tests/test_laws.py``).

    Raises:
        ConfigError: A size below 1, or a rank that is not between 1 and the larger size.

    Example:
        >>> import torch
        >>> BROLinear(4, 3)(torch.zeros(2, 4)).shape
        torch.Size([2, 3])

    Source: the paper above; T is that of :func:`~sll_zoo.functional.orthogonal.block_reflector`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        rank: int | None = None,
        *,
        bias: bool = True,
        **placement: Unpack[Placement],
    ) -> None:
        super().__init__(max(in_features, out_features), _rank(in_features, out_features, rank), bias=False, **placement)
        self.bias = nn.Parameter(torch.zeros(out_features, **placement)) if bias else None
        self.in_features, self.out_features = in_features, out_features

    def constrained_weight(self) -> Float[Tensor, "out in_"]:
        """Return Q."""
        with full_precision(self.weight.device.type):
            dtype = torch.promote_types(self.weight.dtype, torch.float32)
            return block_reflector(of_unit_norm(self.weight), self.out_features, self.in_features, dtype)

    def extra_repr(self) -> str:
        """Return the sizes, for ``print(model)``."""
        return f"{self.in_features}, {self.out_features}, rank={len(self.weight)}"


class BROConv2d(CircularLinearForm):
    """A circular convolution, :class:`BROLinear` at each frequency: (batch, in_channels, h, w) → (batch, out_channels, h, w).

    A forward computes one Cholesky decomposition (rank, rank) for each frequency of its images, or a single one if the kernel has
    one pixel. The folded form takes images of one size only.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd; size of the kernel of W. The orthogonal kernel is as large as the image.
        rank: Dimension of the space that is reflected at each frequency; by default half of the larger number of channels.
        bias: Whether to add a bias.
        **placement: ``device`` and ``dtype`` of the parameters.

    Guarantee: as for :class:`BROLinear`, for every image size; for kernels larger than 63 × 63 rounding may exceed that.

    Raises:
        ConfigError: An even kernel, a size below 1, or a rank that is not between 1 and the larger number of channels.

    Example:
        >>> import torch
        >>> BROConv2d(4, 3)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 3, 8, 8])

    Source: as for :class:`BROLinear`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        rank: int | None = None,
        *,
        bias: bool = True,
        **placement: Unpack[Placement],
    ) -> None:
        super().__init__()
        require_odd(kernel_size)
        shape = (_rank(in_channels, out_channels, rank), max(in_channels, out_channels), kernel_size, kernel_size)
        self.weight, _ = weight_and_bias(shape, False, orthogonal_, **placement)
        self.bias = nn.Parameter(torch.zeros(out_channels, **placement)) if bias else None
        self.in_channels, self.out_channels = in_channels, out_channels

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """Rows and columns of Q."""
        return self.out_channels, self.in_channels

    def matrices(self, size: tuple[int, int], dtype: torch.dtype = torch.float64) -> Inexact[Tensor, "*frequencies out in_"]:
        """Return Q, computed in float64: one matrix for each frequency of images of ``size``, or one real one for all pixels."""
        with full_precision(self.weight.device.type):
            return block_reflector(operators(of_unit_norm(self.weight), size), *self.matrix_shape, dtype)

    def extra_repr(self) -> str:
        """Return the sizes, for ``print(model)``."""
        rank, _, kernel_size, _ = self.weight.shape
        return f"{self.in_channels}, {self.out_channels}, kernel_size={kernel_size}, rank={rank}"


def _rank(in_: int, out: int, rank: int | None) -> int:
    """Return the rank of a layer: the one that is asked for, or half of the larger size.

    Raises:
        ConfigError: A size below 1, or a rank that is not between 1 and the larger size.
    """
    require_sizes((out, in_))
    largest = max(in_, out)
    if rank is not None and not 1 <= rank <= largest:
        raise ConfigError(
            f"rank={rank} of a layer of size {largest}", f"choose one from 1 to {largest}, or none for {max(1, largest // 2)}"
        )
    return max(1, largest // 2) if rank is None else rank
