"""SDP-based Lipschitz layers (SLL): the residual form with T = diag Σⱼ |WᵀW|ᵢⱼ qⱼ/qᵢ and a learned q > 0, and tighter ones.

Reference: Araujo et al., "A Unified Algebraic Perspective on Lipschitz Neural Networks", ICLR 2023 (arXiv 2303.03169v2).
Its released convolution cancels q; these layers follow the theorem. At log q = 0 both compute the same function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.errors import ConfigError
from sll_zoo.functional.fast.gram import abs_gram_product
from sll_zoo.functional.rescaling import Product, residual_step, row_sums, tightened
from sll_zoo.layers.residual import ResidualConv2d, ResidualLinear


def _require_power(power: int) -> None:
    if power not in (1, 2, 4, 8):
        raise ConfigError(f"power={power}", "choose 1 (SLL), 2, 4 or 8")


def _may_be_stacked(layers: Sequence[SLLConv2d]) -> bool:
    """Return whether 2/T of layers of one shape is worth to be computed at once, and nothing else than their formula."""
    return {(layer.power, layer.weight.device.type, type(layer).step, layer._once) for layer in layers} == {
        (layers[0].power, "cuda", SLLConv2d.step, None)
    }


def _t(weight: Tensor, scale: Tensor, log_q: Tensor, power: int, product: Product = abs_gram_product) -> Tensor:
    if power == 1:
        return row_sums(weight, scale, log_q, product)
    return tightened(weight.to(scale.dtype) / scale, log_q, power)


class SLLLinear(ResidualLinear):
    """1-Lipschitz layer h(x) = x − 2 Vᵀ T⁻¹ σ(V x + b), with Tᵢ = (Σⱼ |(V Vᵀ)ᵏ|ᵢⱼ qⱼ/qᵢ)^{1/k}.

    It maps (batch, features) to the same shape.

    Args:
        features: Size of the input and of the output.
        inner_features: Number of hidden units, rows of V.
        power: k, one of 1, 2, 4, 8. 1 is SLL; a larger one has a smaller T at initialisation, so that the layer changes its input
            more, and costs a matrix product for each doubling.
        **options: ``bias``, whether σ's argument has one (default True); ``activation``, the name of σ, with slopes in [0, 1]
            (default ``relu``); ``device`` and ``dtype`` of the parameters.

    Attributes:
        product: Computes |V Vᵀ| q for T of power 1 in training steps, in train mode and with gradients; it may be replaced.
            Everywhere else :func:`~sll_zoo.functional.fast.gram.abs_gram_product` is used, whatever is set here.

    Guarantee: in exact arithmetic, for any weights; in float64 to 1e-9, in float32 to 1e-5, and under bfloat16 autocast the
        output is within 2 % of ‖x‖ of the exact one (``tests/test_laws.py``). log q starts at 0, where T's trace is smallest.

    Raises:
        ConfigError: A size below 1, or an unknown power or activation.

    Example:
        >>> import torch
        >>> SLLLinear(8, 4)(torch.zeros(2, 8)).shape
        torch.Size([2, 8])

    Source: equation 8 of the paper; for k > 1, :func:`~sll_zoo.functional.rescaling.tightened`.
    """

    def __init__(self, features: int, inner_features: int, power: int = 1, **options: Any) -> None:
        super().__init__(features, inner_features, **options)
        _require_power(power)
        self.power = power
        self.log_q = nn.Parameter(torch.zeros_like(self.weight[:, 0]))
        self._product: Product = abs_gram_product

    @property
    def product(self) -> Product:
        """The product that training steps use."""
        return self._product

    @product.setter
    def product(self, product: Product) -> None:
        self._product = product

    def step(self) -> Float[Tensor, " inner"]:
        """Return 2/T, (inner,)."""
        # Only training steps use a replaced product: certificates are computed in eval mode or without gradients.
        product = self._product if self.training and torch.is_grad_enabled() else abs_gram_product
        return residual_step(self.weight, lambda weight, scale: _t(weight, scale, self.log_q, self.power, product))


class SLLConv2d(ResidualConv2d):
    """1-Lipschitz convolution h(x) = x − 2 K ⋆ᵀ T⁻¹ σ(K ⋆ x + b), with Tᵢ = (Σⱼ Σ_δ |(K ⋆ K)ᵏᵢⱼ[δ]| qⱼ/qᵢ)^{1/k}.

    It maps (batch, channels, h, w) to the same shape.

    Args:
        channels: Channels of the input and of the output.
        inner_channels: Number of hidden channels, kernels of K.
        kernel_size: Odd.
        power: k, one of 1, 2, 4, 8; see :class:`SLLLinear`.
        **options: ``bias``, whether σ's argument has one (default True); ``activation``, the name of σ, with slopes in [0, 1]
            (default ``relu``); ``padding_mode``, ``zeros`` (default) or ``circular``; ``device`` and ``dtype`` of the parameters.

    Guarantee: as for :class:`SLLLinear`, for every image size.

    Raises:
        ConfigError: An even kernel, a size below 1, or an unknown power or activation.

    Example:
        >>> import torch
        >>> SLLConv2d(6, 2, kernel_size=5)(torch.zeros(1, 6, 8, 8)).shape
        torch.Size([1, 6, 8, 8])

    Source: equation 8 of the paper, q on two axes (the authors' code: on one, where it cancels).
    """

    def __init__(self, channels: int, inner_channels: int, kernel_size: int = 3, power: int = 1, **options: Any) -> None:
        super().__init__(channels, inner_channels, kernel_size, **options)
        _require_power(power)
        self.power = power
        self.log_q = nn.Parameter(torch.zeros_like(self.weight[:, 0, 0, 0]))

    def step(self) -> Float[Tensor, " inner"]:
        """Return 2/T, (inner,)."""
        return self._step_of(self.weight, self.log_q)

    @classmethod
    def steps(cls, layers: Sequence[Any]) -> list[Tensor]:
        """Return 2/T of layers of one shape, (inner,) each: on a GPU in the time of one."""
        if not _may_be_stacked(layers):
            return super().steps(layers)
        first, *_ = layers
        weights, logs = (torch.stack(tensors) for tensors in zip(*((layer.weight, layer.log_q) for layer in layers), strict=True))
        return list(torch.vmap(first._step_of)(weights, logs).unbind())

    def _step_of(self, weight: Tensor, log_q: Tensor) -> Tensor:
        return residual_step(weight, lambda weight, scale: _t(weight, scale, log_q, self.power))
