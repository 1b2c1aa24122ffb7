"""Activations for the inside of residual layers, and for use between layers.

Inside the residual form σ must act on each coordinate with slopes in [0, 1]: the proof compares ⟨Δz, Δσ⟩ with ‖Δσ‖² unit by unit.
Between layers any 1-Lipschitz map will do: MaxMin, Householder and the absolute value keep the gradient's norm as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sll_zoo.compat import graph_is_captured
from sll_zoo.errors import ConfigError
from sll_zoo.functional.fast.pairs import sorted_pairs
from sll_zoo.functional.fast.products import derivatives_are_taken_in_reverse

SLOPE_RESTRICTED: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    # Above its threshold it is x, a step down by e^-threshold: with 20 in place of 40 that is far above rounding.
    "softplus": partial(F.softplus, threshold=40),
    "elu": F.elu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


def slope_restricted(name: str) -> Callable[[Tensor], Tensor]:
    """Return the activation of this name, if the residual form may use it.

    Raises:
        ConfigError: An activation that mixes coordinates or has slopes outside [0, 1], with which x − 2 W T⁻¹ σ(Wᵀx + b) is not
            1-Lipschitz: the absolute value and MaxMin reach gains above 2.
    """
    if name not in SLOPE_RESTRICTED:
        raise ConfigError(
            f"activation={name!r} is not known to act on each coordinate with slopes in [0, 1], as the residual form needs",
            f"choose one of {', '.join(SLOPE_RESTRICTED)}, or put MaxMin, Householder or Absolute between layers",
        )
    return SLOPE_RESTRICTED[name]


def max_min(x: Float[Tensor, "batch channels *space"]) -> Float[Tensor, "batch channels *space"]:
    """Sort channels 2i and 2i + 1, the larger first; an odd last channel stays as it is. An isometry at each point.

    This is GroupSort with groups of 2. Source: Anil, Lucas and Grosse 2019 (arXiv 1811.05381).
    """
    if not graph_is_captured() and derivatives_are_taken_in_reverse(x):
        return sorted_pairs(x)
    pairs = x.shape[1] // 2
    paired = x[:, : 2 * pairs].reshape(x.shape[0], pairs, 2, *x.shape[2:])
    ordered = torch.stack([paired.amax(2), paired.amin(2)], 2).flatten(1, 2)
    return torch.cat([ordered, x[:, ordered.shape[1] :]], 1)


def householder(
    x: Float[Tensor, "batch channels *space"], angle: Float[Tensor, " pairs"]
) -> Float[Tensor, "batch channels *space"]:
    """Reflect channels 2i and 2i + 1 across a learned line through 0 wherever they lie below it; an odd last channel stays.

    Continuous, and an isometry at each point. ``angle`` θ sets the normal v = (sin θ/2, −cos θ/2); θ = π/2 is MaxMin.

    Source: Singla, Singla and Feizi 2022 (arXiv 2108.04062).
    """
    paired = x[:, : 2 * len(angle)].reshape(x.shape[0], len(angle), 2, *x.shape[2:])
    shape = (-1, *(1,) * (x.ndim - 2))
    normal = torch.stack([(angle / 2).sin(), -(angle / 2).cos()], 1).view(len(angle), 2, *shape[1:])
    height = (paired * normal).sum(2, keepdim=True)
    reflected = paired - 2 * height.clamp_max(0) * normal
    return torch.cat([reflected.flatten(1, 2), x[:, 2 * len(angle) :]], 1)
