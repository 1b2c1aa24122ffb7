"""The residual form of a 1-Lipschitz layer, h(x) = x − 2 W T⁻¹ σ(Wᵀx + b), dense and convolutional in one function.

Reference: Araujo et al., ICLR 2023 (arXiv 2303.03169v2).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def residual(
    x: Float[Tensor, "batch features *space"],
    weight: Float[Tensor, "inner features *kernel"],
    bias: Float[Tensor, " inner"] | None,
    step: Float[Tensor, " inner"],
) -> Float[Tensor, "batch features *space"]:
    """Return ``x − Vᵀ (step ⊙ relu(V x + b))``, with V = ``weight``.

    With ``step = 2/T``, T diagonal and V Vᵀ ≼ diag(T), the map is 1-Lipschitz in L2: ReLU is slope-restricted in [0, 1]
    coordinate by coordinate, which is what the proof uses.

    Args:
        x: (batch, features), or (batch, channels, height, width).
        weight: (inner, features), or (inner, channels, k, k) with k odd; the convolution is zero-padded to keep the size, and its
            transpose has the same kernel and padding, so that the two are exact adjoints.
        bias: (inner,) or None.
        step: 2/T, (inner,).
    """
    step = step.to(weight.dtype)
    if weight.ndim == 2:
        return x - F.linear(F.relu(F.linear(x, weight, bias)) * step, weight.mT)
    padding = weight.shape[-1] // 2
    inner = F.relu(F.conv2d(x, weight, bias, padding=padding)) * step[:, None, None]
    return x - F.conv_transpose2d(inner, weight, padding=padding)
