"""The computation of a file whose radii account for rounding: a frozen network, and what its rounding takes from a radius.

The theory is in ``certificates/soundness/README.md``. Runtimes rewrite the graph that they are given; onnxruntime drops a factor
that is within 1e-5 of 1, and a summand below 1e-8. So the bound is one product with a vector, of which nothing is dropped, and
:func:`require_kept` refuses any other such number.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from sll_zoo.certificates.soundness import FrozenNetwork
from sll_zoo.certificates.soundness.rounding import FOURIER
from sll_zoo.deployment.operations import FrequencyProduct
from sll_zoo.errors import ConfigError, ExportError
from sll_zoo.functional.certificate import certified_radius
from sll_zoo.functional.norms import diameter, lengths
from sll_zoo.layers import FoldedSandwich
from sll_zoo.models import LipschitzClassifier

# The share of a radius that is subtracted for the rounding of margins, their quotients and this subtraction: a few units each.
OWN_ROUNDING = 1e-12
# A scalar that is nearer than this to the number that changes nothing may be taken for it: onnxruntime's tolerance, with room.
NEAR = 1e-4
NEUTRAL = {"Mul": 1.0, "Div": 1.0, "Add": 0.0, "Sub": 0.0}


class SoundlyDeployed(nn.Module):
    """Images to ``logits`` (batch, classes), ``radius`` and ``slack``, (batch,) each; radius + slack is that of exact arithmetic.

    Args:
        frozen: The network of :func:`~sll_zoo.freeze`, in float64.
        plain: Its layers in plain operations.

    Raises:
        ConfigError: A layer whose rounding is not bounded in plain operations.
    """

    constants: Tensor
    lowered: Tensor
    mean: Tensor

    def __init__(self, frozen: FrozenNetwork, plain: LipschitzClassifier) -> None:
        super().__init__()
        _require_bounded(frozen, plain)
        self.network = plain
        self.norm = frozen.norm
        self.diameter = diameter(plain.config.input_shape, frozen.norm)
        constants = frozen.pairwise_lipschitz()
        # Classes that differ by a constant take the smallest distance of two classes: a larger constant is true as well.
        apart = constants[constants > 0]
        smallest = apart.amin() if len(apart) else constants.new_ones(())
        features, logit = frozen.error_coefficients()
        lowered = 2 * features + 4 * logit / smallest
        if not bool(lowered.isfinite().all()):
            raise ConfigError("the rounding of the network is not bounded", "export without sound=True")
        lowered[2] += OWN_ROUNDING
        self.register_buffer("constants", constants.clamp_min(smallest))
        self.register_buffer("lowered", lowered)
        self.register_buffer("mean", frozen.network.center.mean)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits, radius and slack; images outside [0, 1], which :func:`~sll_zoo.certify` refuses, have radius 0."""
        logits = self.network(images)
        _, plain = certified_radius(logits, self.constants)
        valid = ((images >= 0) & (images <= 1)).flatten(1).all(1)
        plain = torch.where(valid, plain.clamp_max(self.diameter), 0.0)
        sizes = torch.stack(
            [lengths(images, self.norm), lengths(images - self.mean, self.norm), plain, torch.ones_like(plain)], 1
        )
        radius = torch.where(valid, (plain - sizes @ self.lowered).clamp_min(0), 0.0)
        return {"logits": logits, "radius": radius, "slack": plain - radius}


def _require_bounded(frozen: FrozenNetwork, plain: nn.Module) -> None:
    if any(isinstance(layer, FoldedSandwich) for layer in frozen.modules()):
        raise ConfigError("sandwich layers are rounded in another way in a file", "export without sound=True")
    for layer in plain.modules():
        if isinstance(layer, FrequencyProduct):
            height, width = layer.rows.shape[0] // 2, layer.columns.shape[1]
            # Products of n terms for transforms along columns and rows, of real and imaginary parts: γₙ ‖ |F| ‖ / ‖F‖ each.
            units = math.sqrt(2) * ((width + 4) * math.sqrt(width) + (2 * height + 4) * math.sqrt(height))
            if units > FOURIER * math.log2(2 * height * width):
                raise ConfigError(
                    f"Fourier transforms of {height} x {width} pixels as products",
                    "export without sound=True: rounding is not bounded",
                )


def require_kept(scalars: Iterable[tuple[str, float]]) -> None:
    """Raise ExportError if a runtime might take a number of the graph for one that changes nothing.

    Args:
        scalars: For each constant operand of a single number: the operation, and the number.
    """
    for operation, value in scalars:
        neutral = NEUTRAL.get(operation, value)
        if value != neutral and abs(value - neutral) < NEAR:
            raise ExportError(
                f"{operation} with {value!r}, which a runtime may leave out as if it were {neutral:g}",
                "export without sound=True",
            )
