"""Spectral normalisation with a proof: the linear form with T = ‖W‖² I, where ‖W‖ is bounded from above.

Reference: Miyato et al. 2018 (arXiv 1802.05957), whose power iteration bounds ‖W‖ from below and so proves nothing.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from sll_zoo.functional.spectral import contraction
from sll_zoo.layers.linear_form import LipschitzConv2d, LipschitzLinear


class SpectralLinear(LipschitzLinear):
    """1-Lipschitz linear map x ↦ W x/c + b, with c an upper bound of ‖W‖: (batch, in_features) → (batch, out_features).

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
        >>> SpectralLinear(4, 3)(torch.zeros(2, 4)).shape
        torch.Size([2, 3])

    Source: the paper above; the bound is :func:`~sll_zoo.functional.spectral.squared_spectral_norm_upper_bound`.
    """

    def constrained_weight(self) -> Float[Tensor, "out in_"]:
        """Return W divided by an upper bound of its norm."""
        return contraction(self.weight)


class SpectralConv2d(LipschitzConv2d):
    """1-Lipschitz convolution, :class:`SpectralLinear` for kernels: (batch, in_channels, h, w) → (batch, out_channels, h, w).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd.
        bias: Whether to add a bias.
        padding_mode: ``zeros`` or ``circular``.
        **placement: ``device`` and ``dtype`` of the parameters.

    Guarantee: as for :class:`SpectralLinear`, for every image size.

    Raises:
        ConfigError: An even kernel, or a size below 1.

    Example:
        >>> import torch
        >>> SpectralConv2d(4, 3)(torch.zeros(2, 4, 8, 8)).shape
        torch.Size([2, 3, 8, 8])

    Source: as for :class:`SpectralLinear`.
    """

    def constrained_weight(self) -> Float[Tensor, "out in_ k k"]:
        """Return W divided by an upper bound of its norm."""
        return contraction(self.weight)
