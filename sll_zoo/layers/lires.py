"""Linear residual layers (LiResNet): the linear form of I + K with T = ‖I + K‖² I, where the norm is bounded from above.

Reference: Hu et al., "Unlocking Deterministic Robustness Certification on ImageNet", NeurIPS 2023 (arXiv 2301.12549), which finds
‖I + K‖ by power iteration: a bound from below, which proves nothing.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sll_zoo.functional.spectral import contraction
from sll_zoo.layers.linear_form import LipschitzConv2d, LipschitzLinear

# K starts with a norm of about 0.002, so that a layer keeps a signal, and no two channels are alike.
_almost_zero_ = partial(nn.init.xavier_normal_, gain=0.001)


class LiResLinear(LipschitzLinear):
    """1-Lipschitz linear map x ↦ (x + K x)/c + b, c an upper bound of ‖I + K‖: (batch, in_features) → (batch, out_features).

    It starts near the identity: ``weight`` is K, and small at first. I is 1 on the diagonal if the two sizes differ.

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
        >>> LiResLinear(4, 3)(torch.zeros(2, 4)).shape
        torch.Size([2, 3])

    Source: the paper above; the bound is :func:`~sll_zoo.functional.spectral.squared_spectral_norm_upper_bound`.
    """

    fill = staticmethod(_almost_zero_)

    def constrained_weight(self) -> Float[Tensor, "out in_"]:
        """Return (I + K)/c."""
        return contraction(_plus_identity(self.weight))


class LiResConv2d(LipschitzConv2d):
    """1-Lipschitz convolution, :class:`LiResLinear` for kernels: (batch, in_channels, h, w) → (batch, out_channels, h, w).

    x + K ⋆ x is the convolution with K plus I in its middle. A kernel of more than one pixel starts at 0.98 to 0.99 times the
    identity, of which 0.01 is for the frequencies between those that the bound samples.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd.
        bias: Whether to add a bias.
        padding_mode: ``zeros`` or ``circular``.
        **placement: ``device`` and ``dtype`` of the parameters.

    Guarantee: as for :class:`LiResLinear`, for every image size.

    Raises:
        ConfigError: An even kernel, or a size below 1.

    Example:
        >>> import torch
        >>> LiResConv2d(4, 3)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 3, 8, 8])

    Source: as for :class:`LiResLinear`.
    """

    fill = staticmethod(_almost_zero_)

    def constrained_weight(self) -> Float[Tensor, "out in_ k k"]:
        """Return (I + K)/c."""
        return contraction(_plus_identity(self.weight))


def _plus_identity(weight: Tensor) -> Tensor:
    """Return I + K, in float32 at least, in which 1 does not swallow a small K."""
    weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
    out, in_, *kernel = weight.shape
    identity = torch.eye(out, in_, dtype=weight.dtype, device=weight.device).view(out, in_, *(1,) * len(kernel))
    return weight + F.pad(identity, [edge // 2 for edge in kernel for _ in range(2)])
