"""The residual form as modules, without a choice of T, and the folded form with 2/T stored.

A family is a subclass of ``ResidualLinear`` and one of ``ResidualConv2d`` that define ``step``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import Any, TypeGuard, Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.compat import graph_is_captured, may_have_hooks
from sll_zoo.functional.activation import slope_restricted
from sll_zoo.functional.convolution import PaddingMode
from sll_zoo.functional.fast.reversible import Layer, residuals
from sll_zoo.layers.attachments import attachment
from sll_zoo.layers.derived import DerivingModule
from sll_zoo.layers.parameters import Placement, require_odd, weight_and_bias
from sll_zoo.layers.seal import Sealed, sealed


class _Residual(DerivingModule):
    """h(x) = x − Vᵀ (step ⊙ σ(V x + b)), with the step that a family chooses."""

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, activation: str, padding_mode: PaddingMode) -> None:
        super().__init__()
        slope_restricted(activation)
        self.activation = activation
        self.padding_mode = padding_mode

    def step(self) -> Float[Tensor, " inner"]:
        """Return 2/T, (inner,): the family's choice."""
        raise NotImplementedError

    @classmethod
    def steps(cls, layers: Sequence[Any]) -> list[Tensor]:
        """Return 2/T of each of some layers of this class and of one shape."""
        return [layer.derived(layer.step) for layer in layers]

    def forward(self, x: Float[Tensor, "batch features *space"]) -> Float[Tensor, "batch features *space"]:
        """Apply the layer; the shape is kept."""
        return residuals(x, [self.functional()], self.activation, self.padding_mode)

    def functional(self) -> Layer:
        """Return V, b and 2/T."""
        return Layer(self.weight, self.bias, self.derived(self.step))

    def fold(self) -> FoldedResidual:
        """Return the same map with its step computed once and stored, for evaluation and deployment."""
        return sealed(FoldedResidual(self.weight, self.bias, self.step(), self.activation, self.padding_mode))

    def extra_repr(self) -> str:
        """Return the sizes, for ``print(model)``."""
        inner, outer, *kernel = self.weight.shape
        return f"{outer}, inner={inner}" + (f", kernel_size={kernel[0]}" if kernel else "")


class ResidualStack(nn.Sequential):
    """Layers one after the other, as in ``nn.Sequential``, faster and in less memory if all are residual layers of this package.

    Such layers are executed together: see :func:`~sll_zoo.functional.fast.reversible.residuals`. If one has a hook,
    they are called one by one.
    """

    def forward(self, x: Float[Tensor, "batch features *space"]) -> Float[Tensor, "batch features *space"]:
        """Apply the layers in turn."""
        return self.prepared(x.dtype)(x)

    def prepared(self, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """Return the map for inputs of a dtype; where layers are executed together, their steps are computed here, once."""
        layers = [layer for layer in self if _applies_formula(layer)]
        kinds = {(layer.activation, layer.padding_mode, layer.weight.ndim) for layer in layers}
        if len(layers) < len(self) or len(kinds) != 1:
            return super().forward
        activation, padding_mode, _ = kinds.pop()
        apply = partial(residuals, activation=activation, padding_mode=padding_mode)
        prepared = _functional(layers)
        if dtype in (torch.float32, torch.float64):
            return partial(apply, layers=prepared)
        # In half precision one by one: the inputs that backward computes again would differ too much from the true ones.
        return partial(reduce, lambda x, layer: apply(x, [layer]), prepared)


def _functional(layers: Sequence[_Residual | FoldedResidual]) -> list[Layer]:
    first, *_ = layers
    alike = len({(type(layer), layer.weight.shape) for layer in layers}) == 1
    if not alike or not isinstance(first, _Residual):
        return [layer.functional() for layer in layers]
    steps = type(first).steps(layers)
    return [Layer(layer.weight, layer.bias, step) for layer, step in zip(layers, steps, strict=True)]


def _applies_formula(layer: nn.Module) -> TypeGuard[_Residual | FoldedResidual]:
    """Return whether a call of the layer applies the formula and does nothing else."""
    if graph_is_captured() or not isinstance(layer, _Residual | FoldedResidual):
        return False
    if may_have_hooks(layer) or attachment(layer):  # hooks of backward change no value, but must be called
        return False
    return type(layer).forward in (_Residual.forward, FoldedResidual.forward)


class ResidualLinear(_Residual):
    """The dense residual form, (batch, features) → (batch, features).

    Args:
        features: Size of the input and of the output.
        inner_features: Number of hidden units.
        bias: Whether σ's argument has a bias.
        activation: Name of σ, with slopes in [0, 1].
        **placement: ``device`` and ``dtype`` of the parameters.

    Raises:
        ConfigError: A size below 1, or an activation with which the form would not be 1-Lipschitz.
    """

    def __init__(
        self,
        features: int,
        inner_features: int,
        *,
        bias: bool = True,
        activation: str = "relu",
        **placement: Unpack[Placement],
    ) -> None:
        super().__init__(activation, "zeros")
        self.weight, self.bias = weight_and_bias((inner_features, features), bias, **placement)


class ResidualConv2d(_Residual):
    """The convolutional residual form: (batch, channels, h, w) → the same shape.

    Args:
        channels: Channels of the input and of the output.
        inner_channels: Number of hidden channels.
        kernel_size: Odd; an even kernel has no symmetric padding that keeps the size.
        bias: Whether σ's argument has a bias.
        activation: Name of σ, with slopes in [0, 1].
        padding_mode: ``zeros`` or ``circular``; the same T serves both.
        **placement: ``device`` and ``dtype`` of the parameters.

    Raises:
        ConfigError: An even kernel, a size below 1, or an activation with which the form would not be 1-Lipschitz.
    """

    def __init__(
        self,
        channels: int,
        inner_channels: int,
        kernel_size: int = 3,
        *,
        bias: bool = True,
        activation: str = "relu",
        padding_mode: PaddingMode = "zeros",
        **placement: Unpack[Placement],
    ) -> None:
        require_odd(kernel_size)
        super().__init__(activation, padding_mode)
        self.weight, self.bias = weight_and_bias((inner_channels, channels, kernel_size, kernel_size), bias, **placement)


class FoldedResidual(Sealed):
    """A residual layer whose 2/T is a stored tensor: no rescaling at inference.

    Guarantee: that of the layer whose ``fold`` made and sealed it; one that was changed since, or made by hand, has none.

    Args:
        weight: V, (inner, features) or (inner, channels, k, k).
        bias: (inner,) or None.
        step: 2/T, (inner,).
        activation: Name of σ.
        padding_mode: Padding of a convolution, ``zeros`` or ``circular``.
    """

    weight: Tensor
    bias: Tensor | None
    step: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None, step: Tensor, activation: str, padding_mode: PaddingMode) -> None:
        super().__init__()
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("bias", None if bias is None else bias.detach().clone())
        self.register_buffer("step", step.detach().clone())
        self.activation = activation
        self.padding_mode = padding_mode

    def forward(self, x: Float[Tensor, "batch features *space"]) -> Float[Tensor, "batch features *space"]:
        """Apply the layer; the shape is kept."""
        return residuals(x, [self.functional()], self.activation, self.padding_mode)

    def functional(self) -> Layer:
        """Return V, b and 2/T."""
        return Layer(self.weight, self.bias, self.step)
