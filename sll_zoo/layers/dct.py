"""The discrete cosine transform of patches: an orthogonal map without parameters."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.layers.linear_form import FoldedLinearForm, apply_linear
from sll_zoo.layers.parameters import require_sizes
from sll_zoo.layers.seal import sealed


class PatchDCT(nn.Module):
    """Cosine transform of each patch over its channels, rows and columns: an isometry on the channels of one pixel.

    The mean of a patch, its colours and its edges become channels of their own. Neighbouring pixels are nearly equal, and
    optimizers that scale each coordinate by itself learn faster where coordinates are less alike.

    Args:
        channels: Channels of the images, before :class:`~sll_zoo.layers.PixelUnshuffle`, whose order of channels it takes.
        patch: Edge of a patch, k: it maps (batch, channels · k², h, w) to the same shape.

    Raises:
        ConfigError: A size below 1.

    Example:
        >>> import torch
        >>> PatchDCT(1, 2)(torch.ones(1, 4, 1, 1)).flatten().round(decimals=6).abs().tolist()
        [2.0, 0.0, 0.0, 0.0]

    Source: DCT-II, Ahmed, Natarajan and Rao 1974, scaled to be orthonormal.
    """

    place: Tensor

    def __init__(self, channels: int, patch: int) -> None:
        super().__init__()
        require_sizes((channels, patch))
        self.register_buffer("place", torch.empty(0), persistent=False)  # empty: it tells the device
        self.channels = channels
        self.patch = patch

    def matrix(self) -> Float[Tensor, "out in_ 1 1"]:
        """Return the matrix as a kernel (channels · k², channels · k², 1, 1) in float64."""
        colours, edge = (_cosines(n, self.place.device) for n in (self.channels, self.patch))
        return torch.kron(colours, torch.kron(edge, edge))[:, :, None, None]

    def forward(self, x: Float[Tensor, "batch in_ h w"]) -> Float[Tensor, "batch in_ h w"]:
        """Transform the channels of each pixel; under autocast, too, in the dtype of ``x``."""
        with torch.autocast(x.device.type, enabled=False):
            return apply_linear(x, self.matrix().to(x), None, "zeros")

    def fold(self) -> FoldedLinearForm:
        """Return the same map with its matrix stored."""
        return sealed(FoldedLinearForm(self.matrix(), None, "zeros"))

    def extra_repr(self) -> str:
        """Return the sizes, for ``print(model)``."""
        return f"channels={self.channels}, patch={self.patch}"


def _cosines(n: int, device: torch.device) -> Tensor:
    """Return the orthonormal DCT-II of n numbers, (n, n)."""
    place = torch.arange(n, dtype=torch.float64, device=device)
    rows = torch.cos(math.pi / n * place[:, None] * (place + 0.5)) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows
