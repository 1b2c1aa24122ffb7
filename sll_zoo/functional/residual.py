"""The residual form of a 1-Lipschitz layer, h(x) = x − 2 W T⁻¹ σ(Wᵀx + b), dense and convolutional in one function.

Reference: Araujo et al., ICLR 2023 (arXiv 2303.03169v2).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sll_zoo.functional.activation import slope_restricted
from sll_zoo.functional.convolution import PaddingMode, same_conv2d, same_conv2d_adjoint


def residual(
    x: Float[Tensor, "batch features *space"],
    weight: Float[Tensor, "inner features *kernel"],
    bias: Float[Tensor, " inner"] | None,
    step: Float[Tensor, " inner"],
    activation: str = "relu",
    padding_mode: PaddingMode = "zeros",
) -> Float[Tensor, "batch features *space"]:
    """Return ``x − Vᵀ (step ⊙ σ(V x + b))``, with V = ``weight``.

    With ``step = 2/T``, T diagonal and V Vᵀ ≼ diag(T), the map is 1-Lipschitz in L2, because σ acts on each coordinate with
    slopes in [0, 1].

    Args:
        x: (batch, features), or (batch, channels, height, width).
        weight: (inner, features), or (inner, channels, k, k) with k odd; the convolution keeps the size.
        bias: (inner,) or None.
        step: 2/T, (inner,).
        activation: Name of σ, a key of ``SLOPE_RESTRICTED``.
        padding_mode: Padding of the convolution, ``zeros`` or ``circular``.
    """
    sigma, step = slope_restricted(activation), step.to(weight.dtype)
    if weight.ndim == 2:
        return x - F.linear(sigma(F.linear(x, weight, bias)) * step, weight.mT)
    inner = sigma(same_conv2d(x, weight, bias, padding_mode))
    # A kernel usually has fewer numbers than the hidden units of a batch of images.
    return x - same_conv2d_adjoint(inner, weight * step[:, None, None, None], padding_mode)
