"""What every network has: a mean, a 1-Lipschitz body, a head, and the constants of its logits."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.errors import ConfigError, InputError
from sll_zoo.layers import Center, UnitRowsLinear
from sll_zoo.layers.seal import require_intact
from sll_zoo.models.config import NetworkConfig


class LipschitzClassifier(nn.Module):
    """A classifier whose features are a 1-Lipschitz function of the image, in L2.

    It takes images in [0, 1] and subtracts its own mean, so that every radius is in pixels. A network is a subclass that defines
    :meth:`body`, a chain of layers of this package, and calls :meth:`reset_classifier` when they are made. It has constants only
    as long as that is what it is: :meth:`require_structure` looks whenever they are asked for.

    Args:
        config: The network's shape.

    Attributes:
        config: The same, kept up to date by :meth:`reset_classifier`.
        num_classes: Number of logits, 0 for features.
        num_features: Length of the feature vector.
        in_chans: Channels of the images.

    Guarantee: ``forward_features`` is 1-Lipschitz, and logit i minus logit j is ``pairwise_lipschitz()[i, j]``-Lipschitz, in
    exact arithmetic and for any weights.
    """

    head: nn.Module

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.in_chans = config.in_chans
        self.num_features = self.head_hidden_size = config.num_features
        self.center = Center(config.channel_means)

    def body(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch features"]:
        """Return the features (batch, num_features) of centred images."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch out"]:
        """Return logits (batch, num_classes), or features where num_classes is 0, for images in [0, 1]."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch features"]:
        """Return the features under the head, (batch, num_features): a 1-Lipschitz function of the images.

        Raises:
            InputError: Images of another shape than ``config.input_shape``.
        """
        if x.ndim != 4 or tuple(x.shape[1:]) != self.config.input_shape:
            raise InputError(
                f"images of shape {tuple(x.shape)}", f"this model takes (batch, {', '.join(map(str, self.config.input_shape))})"
            )
        return self.body(self.center(x))

    def forward_head(self, x: Float[Tensor, "batch features"], pre_logits: bool = False) -> Float[Tensor, "batch out"]:
        """Return the logits of features, or the features themselves if ``pre_logits``."""
        return x if pre_logits else self.head(x)

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new, untrained head of ``num_classes`` logits on the body; 0 removes it.

        Raises:
            ConfigError: A ``global_pool``, of which this network has none, or a negative ``num_classes``.
        """
        if global_pool:
            raise ConfigError(f"global_pool={global_pool!r}", "leave it out: the pooling is part of the network")
        self.config = replace(self.config, num_classes=num_classes)
        self.num_classes = num_classes
        head = UnitRowsLinear(self.num_features, num_classes) if num_classes else nn.Identity()
        self.head = head.to(self.center.mean)

    def pairwise_lipschitz(self) -> Float[Tensor, "classes classes"]:
        """Return L (num_classes, num_classes) in float64: Lᵢⱼ bounds how fast logit i − logit j changes with the image.

        Raises:
            ConfigError: The network returns features and has no logits, or is not what :meth:`require_structure` asks for.
            WeightsError: A layer whose numbers were changed after it was folded.
        """
        if not torch.compiler.is_compiling():
            self.require_structure()
            require_intact(self)
        if not isinstance(self.head, UnitRowsLinear):
            raise ConfigError("num_classes=0: a network without logits has no certificate", "call reset_classifier(num_classes)")
        return self.head.pairwise_lipschitz()

    def require_structure(self) -> None:
        """Refuse a network that is no chain of layers of known kinds: see :mod:`sll_zoo.models.structure`.

        Raises:
            ConfigError: A layer of another kind, a hook, a replaced method, or a subclass that does more than chain its layers.
        """
        from sll_zoo.models.structure import require_structure  # which is about this class

        require_structure(self)

    def no_weight_decay(self) -> set[str]:
        """Return the parameters that weight decay must leave alone: log q, of which only differences matter."""
        return {name for name, _ in self.named_parameters() if name.endswith("log_q")}
