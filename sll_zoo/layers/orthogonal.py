"""Orthogonal layers by the Cayley transform: the linear form with WᵀW = I (or WWᵀ = I), hence T = I.

Reference: Trockman and Kolter, "Orthogonalizing Convolutional Layers with the Cayley Transform", ICLR 2021 (arXiv 2104.07167).
"""

from __future__ import annotations

from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.functional.fast.products import full_precision
from sll_zoo.functional.orthogonal import COMPLEX, apply_matrices, cayley, kernel_to_frequencies, normalised
from sll_zoo.layers.linear_form import LipschitzLinear
from sll_zoo.layers.parameters import Placement, require_odd, weight_and_bias


class OrthogonalLinear(LipschitzLinear):
    """x ↦ Q x + b with orthonormal columns of Q, or rows where the output is smaller: an isometry on as much as can be.

    Q is the Cayley transform of W · e^log_norm/‖W‖, so that no size of W overflows. See
    :class:`~sll_zoo.layers.linear_form.LipschitzLinear` for the arguments.

    Guarantee: in exact arithmetic, for any weights; in float64 to 1e-9, in float32 to 1e-5 (``tests/test_laws.py``).

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
            q = cayley(normalised(self.weight, self.log_norm))
            return q.to(torch.promote_types(self.weight.dtype, torch.float32))


class OrthogonalConv2d(nn.Module):
    """A circular convolution that is orthogonal: in the Fourier domain, a Cayley transform for each frequency.

    Its operator depends on the image's size, and is computed for the size that comes; the cost is that of a matrix inverse for
    each frequency, at every forward.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd; of the free parameters. The orthogonal kernel fills the image.
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

    def forward(self, x: Float[Tensor, "batch in_ h w"]) -> Float[Tensor, "batch out h w"]:
        """Apply the layer."""
        size, dtype = (x.shape[2], x.shape[3]), torch.promote_types(x.dtype, torch.float32)
        with full_precision(x.device.type):
            q = cayley(kernel_to_frequencies(normalised(self.weight, self.log_norm), size)).to(COMPLEX[dtype])
            y = apply_matrices(q, x.to(dtype)).to(x.dtype)
        return y if self.bias is None else y + self.bias.to(x.dtype)[:, None, None]
