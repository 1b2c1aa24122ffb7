"""The nearest-neighbour margin classifier: a 1-Lipschitz classifier without training, a baseline for trained ones."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sll_zoo.errors import InputError, require_integer
from sll_zoo.functional.norms import Norm, require_norm


class NearestNeighbour(nn.Module):
    """Logit c = minus the distance to the nearest training image of class c: each logit is 1-Lipschitz in the same norm.

    Args:
        images: Training images (n, channels, height, width).
        labels: Their classes (n,), every class at least once.
        num_classes: Number of logits.
        norm: Norm of the distances and of the certificates, ``"2"`` or ``"inf"``.

    Raises:
        ConfigError: A ``num_classes`` below 1.
        InputError: Another norm, or labels that are not the class of each image, with every class among them.
    """

    images: Tensor
    labels: Tensor

    def __init__(self, images: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"], num_classes: int, norm: Norm = "2") -> None:
        super().__init__()
        require_integer("num_classes", num_classes)
        if labels.shape != images.shape[:1] or labels.is_floating_point():
            raise InputError(
                f"labels of shape {tuple(labels.shape)} and dtype {labels.dtype}", f"give {len(images)} class indices"
            )
        if (found := sorted(set(labels.tolist()))) != list(range(num_classes)):
            raise InputError(f"images of the classes {found}", f"give some of each class 0..{num_classes - 1}, and of no other")
        self.norm = require_norm(norm, type(self).__name__)
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
