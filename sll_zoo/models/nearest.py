"""The nearest-neighbour margin classifier: a 1-Lipschitz classifier without training, a baseline for trained ones."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sll_zoo.functional.norms import Norm


class NearestNeighbour(nn.Module):
    """Logit c = minus the distance to the nearest training image of class c: each logit is 1-Lipschitz in the same norm.

    Args:
        images: Training images (n, channels, height, width).
        labels: Their classes (n,), every class at least once.
        num_classes: Number of logits.
        norm: Norm of the distances and of the certificates, ``"2"`` or ``"inf"``.
    """

    images: Tensor
    labels: Tensor

    def __init__(self, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], num_classes: int, norm: Norm = "2") -> None:
        super().__init__()
        self.norm = norm
        self.num_classes = num_classes
        self.register_buffer("images", images.flatten(1))
        self.register_buffer("labels", labels)

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch classes"]:
        """Return the logits."""
        mode = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(x.flatten(1), self.images, float(self.norm), compute_mode=mode)
        nearest = [distances[:, self.labels == label].amin(1) for label in range(self.num_classes)]
        return -torch.stack(nearest, 1)

    def pairwise_lipschitz(self) -> Float[Tensor, "classes classes"]:
        """Return 2 off the diagonal: the difference of two 1-Lipschitz logits."""
        return 2.0 - 2.0 * torch.eye(self.num_classes, dtype=torch.float64, device=self.images.device)
