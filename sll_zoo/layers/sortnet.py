"""SortNet layers: dense layers that are 1-Lipschitz in L∞, from the largest change of an input to that of an output.

Reference: Zhang, Jiang, He and Wang, NeurIPS 2022 (arXiv 2210.01787).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Unpack

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.compat import graph_is_captured
from sll_zoo.errors import ConfigError, InputError, is_number
from sll_zoo.functional.sorting import order_weights, power_distances, require_rho, sorted_distances
from sll_zoo.layers.parameters import Placement, require_sizes, weight_and_bias

# Offsets start as far apart as the values of images are: the paper's code has 1, for images divided by their deviation.
_normal_ = partial(nn.init.normal_, std=0.3)


class SortLinear(nn.Module):
    """y_k = Σᵢ (1 − ρ) ρ^(i−1) sort(|x + b_k|)ᵢ, the largest first: (batch, in_features) → (batch, out_features).

    With ρ = 0 it is the L∞ distance of x from −b_k. In train mode each batch drops inputs at random, each with probability ρ, and
    y_k is ‖x + b_k‖_p of those that are kept; for p = ∞ its expectation is the neuron. In eval mode it is the neuron itself.

    Args:
        in_features: Size of the input.
        out_features: Size of the output.
        rho: ρ in [0, 1).
        **placement: ``device`` and ``dtype`` of the parameters.

    Attributes:
        weight: b, (out_features, in_features).
        p: The exponent in train mode; :class:`~sll_zoo.training.callbacks.GrowingPower` raises it.

    Guarantee: in eval mode, 1-Lipschitz in L∞ for any weights, in exact arithmetic on the order weights as they are stored.

    Raises:
        ConfigError: A size below 1, or a ρ outside [0, 1).
        InputError: Inputs of another shape; in train mode, inputs that are not finite, which dropping could hide.

    Example:
        >>> import torch
        >>> layer = SortLinear(2, 1, rho=0.5).eval()
        >>> _ = layer.weight.data.zero_()
        >>> layer(torch.tensor([[3.0, -4.0]])).round(decimals=4).tolist()
        [[2.75]]

    Source: the paper above; :mod:`sll_zoo.functional.sorting` has the formulas.
    """

    def __init__(self, in_features: int, out_features: int, rho: float = 0.3, **placement: Unpack[Placement]) -> None:
        super().__init__()
        require_rho(rho)
        self.rho = float(rho)
        self.p = math.inf
        self.weight, _ = weight_and_bias((out_features, in_features), bias=False, fill=_normal_, **placement)

    def order_weights(self, dtype: torch.dtype = torch.float64) -> Float[Tensor, " kept"]:
        """Return the weights of the sorted distances, as the layer uses them in eval mode: of sum at most 1.

        They are rounded down in the narrower of the layer's type and ``dtype``, in which it computes: to convert could round up.
        """
        narrow = max(dtype, self.weight.dtype, key=lambda kind: torch.finfo(kind).eps)
        return order_weights(self.rho, self.weight.shape[1], torch.promote_types(narrow, torch.float32), self.weight.device)

    def forward(self, x: Float[Tensor, "batch in_"]) -> Float[Tensor, "batch out"]:
        """Apply the layer."""
        if x.shape[1:] != self.weight.shape[1:]:  # a single input would be compared with every offset
            raise InputError(f"inputs of shape {tuple(x.shape)}", f"give (batch, {self.weight.shape[1]})")
        dtype = torch.promote_types(x.dtype, torch.float32)
        wide, offsets = x.to(dtype), self.weight.to(dtype)
        if self.training:
            if not graph_is_captured() and not wide.isfinite().all():
                raise InputError("NaN or infinity among the inputs of a SortLinear", "leave such images out of the training")
            if self.rho:
                keep = torch.rand(wide.shape[1], device=wide.device) >= self.rho
                wide, offsets = wide[:, keep], offsets[:, keep]
            y = power_distances(wide, offsets, self.p)
        else:
            y = sorted_distances(wide, offsets, self.order_weights(dtype).to(dtype))
        return y.to(x.dtype)

    def extra_repr(self) -> str:
        """Return sizes and ρ, for ``print(model)``."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, rho={self.rho:g}"


class SortHead(SortLinear):
    """The head of a network in L∞: minus the output of a :class:`SortLinear`, so that the nearest class has the largest logit.

    Args:
        in_features: Size of the feature vector.
        num_classes: Number of logits.
        rho: As for :class:`SortLinear`.
        **placement: ``device`` and ``dtype`` of the parameters.

    Guarantee: each logit is 1-Lipschitz in L∞.

    Raises:
        ConfigError, InputError: As for :class:`SortLinear`.
    """

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch classes"]:
        """Return the logits."""
        return -super().forward(x)

    def pairwise_lipschitz(self) -> Float[Tensor, "classes classes"]:
        """Return L in float64: 2 for two logits, each of which is 1-Lipschitz, and 0 on the diagonal."""
        own = torch.eye(len(self.weight), dtype=torch.float64, device=self.weight.device)
        return 2 * (1 - own)


class MeanShift(nn.Module):
    """x − mean of each feature over the images: an isometry, which keeps distances around 0, where their sign matters.

    In train mode the mean is that of the batch, and a running mean is kept, with which eval mode works.

    Args:
        features: Size of the input and of the output.
        momentum: Weight of a new batch in the running mean, above 0 and at most 1.

    Raises:
        ConfigError: A size below 1, or another momentum.

    Attributes:
        mean: The running mean, (features,).

    Source: mean shift normalisation of Zhang et al. 2021 (arXiv 2102.05363).
    """

    mean: Tensor

    def __init__(self, features: int, momentum: float = 0.1) -> None:
        super().__init__()
        require_sizes((features,))
        if not is_number(momentum) or not 0 < momentum <= 1:
            raise ConfigError(f"momentum={momentum!r}", "give a number above 0, at most 1, such as 0.1")
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(features))

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch features"]:
        """Subtract the mean."""
        if not self.training or not len(x):
            return x - self.mean.to(x.dtype)
        mean = x.mean(0)
        with torch.no_grad():
            self.mean.lerp_(mean.to(self.mean.dtype), self.momentum)
        return x - mean
