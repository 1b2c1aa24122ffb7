"""The linear form as modules, without a choice of T: x ↦ W̃ x + b with ‖W̃‖ ≤ 1, where W̃ = W T^{-1/2}.

A family is a subclass of ``LipschitzLinear`` and one of ``LipschitzConv2d`` that define ``constrained_weight``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Unpack

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from sll_zoo.functional.convolution import PaddingMode, same_conv2d
from sll_zoo.layers.derived import DerivingModule
from sll_zoo.layers.parameters import Placement, orthogonal_, require_odd, weight_and_bias
from sll_zoo.layers.seal import Sealed, sealed


class _LinearForm(DerivingModule):
    """x ↦ W̃ x + b, where the family computes W̃ from W."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    padding_mode: PaddingMode = "zeros"
    fill: Callable[[Tensor], object] = staticmethod(orthogonal_)

    def constrained_weight(self) -> Float[Tensor, "out in_ *kernel"]:
        """Return W̃, of norm at most 1: the family's choice."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "batch in_ *space"]) -> Float[Tensor, "batch out *space"]:
        """Apply the layer; a convolution keeps height and width."""
        return apply_linear(x, self.derived(self.constrained_weight), self.bias, self.padding_mode)

    def fold(self) -> FoldedLinearForm:
        """Return the same map with W̃ computed once and stored, for evaluation and deployment."""
        return sealed(FoldedLinearForm(self.constrained_weight(), self.bias, self.padding_mode))

    def extra_repr(self) -> str:
        """Return the sizes, for ``print(model)``."""
        out, in_, *kernel = self.weight.shape
        return f"{in_}, {out}" + (f", kernel_size={kernel[0]}" if kernel else "")


class LipschitzLinear(_LinearForm):
    """The dense linear form, (batch, in_features) → (batch, out_features).

    Args:
        in_features: Size of the input.
        out_features: Size of the output.
        bias: Whether to add a bias.
        **placement: ``device`` and ``dtype`` of the parameters.

    Raises:
        ConfigError: A size below 1.
    """

    def __init__(self, in_features: int, out_features: int, *, bias: bool = True, **placement: Unpack[Placement]) -> None:
        super().__init__()
        self.weight, self.bias = weight_and_bias((out_features, in_features), bias, self.fill, **placement)


class LipschitzConv2d(_LinearForm):
    """The convolutional linear form, (batch, in_channels, h, w) → (batch, out_channels, h, w).

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Odd.
        bias: Whether to add a bias.
        padding_mode: ``zeros`` or ``circular``.
        **placement: ``device`` and ``dtype`` of the parameters.

    Raises:
        ConfigError: An even kernel, or a size below 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        **placement: Unpack[Placement],
    ) -> None:
        super().__init__()
        require_odd(kernel_size)
        self.padding_mode = padding_mode
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight, self.bias = weight_and_bias(shape, bias, self.fill, **placement)


class FoldedLinearForm(Sealed):
    """A linear layer whose W̃ is a stored tensor.

    Guarantee: that of the layer whose ``fold`` made and sealed it; one that was changed since, or made by hand, has none.

    Args:
        weight: W̃, (out, in) or (out, in, k, k).
        bias: (out,) or None.
        padding_mode: Padding of a convolution, ``zeros`` or ``circular``.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, padding_mode: PaddingMode) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.padding_mode = padding_mode

    def forward(self, x: Float[Tensor, "batch in_ *space"]) -> Float[Tensor, "batch out *space"]:
        """Apply the layer."""
        return apply_linear(x, self.weight, self.bias, self.padding_mode)


def apply_linear(x: Tensor, weight: Tensor, bias: Tensor | None, padding_mode: PaddingMode) -> Tensor:
    """Return W x + b, for a dense weight or a kernel."""
    weight = weight.to(x.dtype)
    return F.linear(x, weight, bias) if weight.ndim == 2 else same_conv2d(x, weight, bias, padding_mode)
