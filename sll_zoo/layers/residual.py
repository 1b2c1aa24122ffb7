"""The residual form as modules: parameters and forward, without a choice of T, and the form with T folded in.

A family is a subclass of ``ResidualLinear`` and one of ``ResidualConv2d`` that define ``step``; nothing else is inherited from.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.errors import ConfigError
from sll_zoo.functional.residual import residual


class _Residual(nn.Module):
    """h(x) = x − Vᵀ (step ⊙ relu(V x + b)), with the step that a family chooses."""

    def __init__(
        self,
        shape: tuple[int, ...],
        bias: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        if min(shape) < 1:
            raise ConfigError(f"weight of shape {shape}", "every size must be at least 1")
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(shape[0], device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight (Xavier normal) and bias (uniform, ±1/√fan_in) as the authors do."""
        nn.init.xavier_normal_(self.weight)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound)

    def step(self) -> Float[Tensor, " inner"]:
        """Return 2/T, (inner,): the family's choice."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "batch features *space"]) -> Float[Tensor, "batch features *space"]:
        """Apply the layer; the shape is kept."""
        return residual(x, self.weight, self.bias, self.step())

    def fold(self) -> FoldedResidual:
        """Return the same map with its step computed once, here and now, for evaluation and deployment."""
        return FoldedResidual(self.weight, self.bias, self.step())

    def extra_repr(self) -> str:
        """Return the sizes, for ``print(model)``."""
        inner, outer, *kernel = self.weight.shape
        return f"{outer}, inner={inner}" + (f", kernel_size={kernel[0]}" if kernel else "")


class ResidualLinear(_Residual):
    """The dense residual form, (batch, features) → (batch, features).

    Args:
        features: Size of the input and of the output.
        inner_features: Number of units of σ.
        bias: Whether σ's argument has a bias.
        device: Where the parameters are created.
        dtype: Their type.
    """

    def __init__(
        self,
        features: int,
        inner_features: int,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__((inner_features, features), bias, device, dtype)


class ResidualConv2d(_Residual):
    """The convolutional residual form, zero-padded: (batch, channels, h, w) → the same shape.

    Args:
        channels: Channels of the input and of the output.
        inner_channels: Channels of σ.
        kernel_size: Odd; an even kernel has no symmetric padding that keeps the size.
        bias: Whether σ's argument has a bias.
        device: Where the parameters are created.
        dtype: Their type.
    """

    def __init__(
        self,
        channels: int,
        inner_channels: int,
        kernel_size: int = 3,
        *,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if not isinstance(kernel_size, int) or kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size={kernel_size}", "choose an odd integer, for example 3")
        super().__init__((inner_channels, channels, kernel_size, kernel_size), bias, device, dtype)


class FoldedResidual(nn.Module):
    """A residual layer whose 2/T is a stored tensor: no rescaling at inference.

    Guarantee: that of the layer it was made from, as long as its tensors are left alone.

    Args:
        weight: V, (inner, features) or (inner, channels, k, k).
        bias: (inner,) or None.
        step: 2/T, (inner,).
    """

    weight: Tensor
    bias: Tensor | None
    step: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, step: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.register_buffer("step", step.detach().clone())

    def forward(self, x: Float[Tensor, "batch features *space"]) -> Float[Tensor, "batch features *space"]:
        """Apply the layer; the shape is kept."""
        return residual(x, self.weight, self.bias, self.step)
