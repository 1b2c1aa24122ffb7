"""Orthogonal layers by the Cayley transform: the linear form with WᵀW = I (or WWᵀ = I), hence T = I.

Reference: Trockman and Kolter, "Orthogonalizing Convolutional Layers with the Cayley Transform", ICLR 2021 (arXiv 2104.07167).
"""

from __future__ import annotations

from typing import Unpack

import torch
from jaxtyping import Float, Inexact
from torch import Tensor, nn

from sll_zoo.functional.fast.products import full_precision
from sll_zoo.functional.orthogonal import cayley, normalised, operators
from sll_zoo.layers.circular import CircularLinearForm
from sll_zoo.layers.linear_form import LipschitzLinear
from sll_zoo.layers.parameters import Placement, require_odd, weight_and_bias


class OrthogonalLinear(LipschitzLinear):
    """1-Lipschitz linear map x ↦ Q x + b, (batch, in_features) → (batch, out_features), with an orthogonal Q.

    Q has orthonormal columns, or orthonormal rows if the output is smaller than the input. It is the Cayley transform of
    W · e^log_norm/‖W‖, so that W of any size does not overflow.

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
        >>> OrthogonalLinear(4, 3)(torch.zeros(2, 4)).shape
        torch.Size([2, 3])

    Source: the paper above.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, **placement: Unpack[Placement]) -> None:
        super().__init__(in_features, out_features, bias=bias, **placement)
        self.log_norm = nn.Parameter(self.weight.detach().norm().log())

    def constrained_weight(self) -> Float[Tensor, "out in_"]:
        """Return Q."""
        with full_precision(self.weight.device.type):
            return cayley(normalised(self.weight, self.log_norm), torch.promote_types(self.weight.dtype, torch.float32))


class OrthogonalConv2d(CircularLinearForm):
    """A circular convolution that is orthogonal: in the Fourier domain, a Cayley transform for each frequency.

    A forward computes one matrix inverse for each frequency of its images, or a single one if the kernel has one pixel. The
    folded form takes images of one size only.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd; size of the kernel of free parameters. The orthogonal kernel is as large as the image.
        bias: Whether to add a bias.
        **placement: ``device`` and ``dtype`` of the parameters.

    Guarantee: as for :class:`OrthogonalLinear`, for every image size.

    Raises:
        ConfigError: An even kernel, or a size below 1.

    Example:
        >>> import torch
        >>> OrthogonalConv2d(4, 3)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 3, 8, 8])

    Source: the paper above.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        bias: bool = True,
        **placement: Unpack[Placement],
    ) -> None:
        super().__init__()
        require_odd(kernel_size)
        self.weight, self.bias = weight_and_bias((out_channels, in_channels, kernel_size, kernel_size), bias, **placement)
        self.log_norm = nn.Parameter(self.weight.detach().norm().log())
        self.out_channels = out_channels

    def matrices(self, size: tuple[int, int], dtype: torch.dtype = torch.float64) -> Inexact[Tensor, "*frequencies out in_"]:
        """Return Q, computed in float64: one matrix for each frequency of images of ``size``, or one real one for all pixels."""
        with full_precision(self.weight.device.type):
            return cayley(operators(normalised(self.weight, self.log_norm), size), dtype)
