"""The base class of all networks: a mean, a 1-Lipschitz body, a head, and the Lipschitz constants of its logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.compat import graph_is_captured
from sll_zoo.errors import ConfigError, InputError
from sll_zoo.functional.norms import Norm
from sll_zoo.layers import FAMILIES, HEADS, Center, ResidualStack, UnitRowsLinear
from sll_zoo.layers.seal import require_intact
from sll_zoo.models.config import NetworkConfig


class LipschitzClassifier(nn.Module):
    """A classifier whose features are a 1-Lipschitz function of the image, in the norm that its class states.

    It takes images in [0, 1] and subtracts its own mean, so that every radius is in pixels. A subclass defines :meth:`enter`,
    :attr:`stages` and :meth:`leave`, or :meth:`body` as a whole, as a chain of layers of this package, and calls
    :meth:`reset_classifier` at the end of its constructor. It has constants only as long as it is such a chain:
    :meth:`require_structure` checks this whenever they are asked for.

    Args:
        config: The network's shape.

    Attributes:
        norm: The norm of all its constants and radii, ``"2"`` or ``"inf"``.
        config: The same, kept up to date by :meth:`reset_classifier`.
        num_classes: Number of logits, 0 for features.
        num_features: Length of the feature vector.
        in_chans: Channels of the images.
        grad_checkpointing: Whether :meth:`set_grad_checkpointing` was asked to save memory.

    Guarantee: ``forward_features`` is 1-Lipschitz, and logit i minus logit j is ``pairwise_lipschitz()[i, j]``-Lipschitz, in
    exact arithmetic and for any weights.
    """

    norm: Norm = "2"
    head: nn.Module

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.in_chans = config.in_chans
        self.num_features = self.head_hidden_size = config.num_features
        self.center = Center(config.channel_means)
        self.grad_checkpointing = False

    @property
    def stages(self) -> nn.Sequential:
        """The convolutional part, a child for each map of :meth:`forward_intermediates`.

        Raises:
            ConfigError: A network that defines its body as a whole.
        """
        raise ConfigError(f"{type(self).__name__} has no stages", "define enter, stages and leave, as LipNet does")

    @property
    def feature_info(self) -> list[dict[str, Any]]:
        """The list that timm's ``FeatureInfo`` takes: ``num_chs``, ``reduction`` and ``module`` of each stage's output."""
        raise ConfigError(f"{type(self).__name__} has no feature_info", "define it beside stages, as LipNet does")

    def enter(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch width rows columns"]:
        """Return the input of the first stage for centred images."""
        raise NotImplementedError

    def leave(self, x: Float[Tensor, "batch width rows columns"]) -> Float[Tensor, "batch features"]:
        """Return the features (batch, num_features) for the output of the last stage."""
        raise NotImplementedError

    def body(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch features"]:
        """Return the features (batch, num_features) of centred images."""
        return self.leave(self.stages(self.enter(x)))

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch out"]:
        """Return logits (batch, num_classes), or features where num_classes is 0, for images in [0, 1]."""
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch features"]:
        """Return the features under the head, (batch, num_features): a 1-Lipschitz function of the images.

        Raises:
            InputError: Images of another shape than ``config.input_shape``.
        """
        return self.body(self._centred(x))

    def forward_intermediates(
        self,
        x: Float[Tensor, "batch channels h w"],
        indices: int | Sequence[int] | None = None,
        norm: bool = False,  # noqa: ARG002 - timm's signature
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """Return the features and the output maps of stages, in the order of the computation, as timm's networks do.

        Each map is a 1-Lipschitz function of the images, too. Stages between two that are asked for run as one.

        Args:
            x: Images in [0, 1].
            indices: Indices of the stages, negative ones from the end; a number n means the last n stages, None means all.
            norm: Ignored: no network here has a normalisation.
            stop_early: Whether to stop after the last map asked for, which is then returned in place of the features.
            output_fmt: ``NCHW``.
            intermediates_only: Whether to return the maps only.

        Raises:
            ConfigError: A stage that does not exist, or another format.
            InputError: Images of another shape than ``config.input_shape``.
        """
        if output_fmt != "NCHW":
            raise ConfigError(f"output_fmt={output_fmt!r}", "the maps are NCHW")
        taken, done, maps = self._places(indices), 0, []
        x = self.enter(self._centred(x))
        for place in taken:
            x = self.stages[done : place + 1](x)
            maps.append(x)
            done = place + 1
        if intermediates_only:
            return maps
        return x if stop_early else self.leave(self.stages[done:](x)), maps

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
        head = self.new_head(num_classes) if num_classes else nn.Identity()
        self.head = head.to(self.center.mean).train(self.training)

    def new_head(self, num_classes: int) -> nn.Module:
        """Return an untrained head of ``num_classes`` logits, of the class that ``HEADS`` has for the network's norm."""
        return UnitRowsLinear(self.num_features, num_classes)

    def pairwise_lipschitz(self) -> Float[Tensor, "classes classes"]:
        """Return L (num_classes, num_classes) in float64: Lᵢⱼ bounds how fast logit i − logit j changes, in ``norm``.

        Raises:
            ConfigError: The network returns features and has no logits, or is not what :meth:`require_structure` asks for.
            WeightsError: A layer whose numbers were changed after it was folded.
        """
        if not graph_is_captured():
            LipschitzClassifier.require_structure(self)  # of this class: a subclass may replace the method
            require_intact(self)
        if not isinstance(self.head, HEADS[self.norm]):
            raise ConfigError("num_classes=0: a network without logits has no certificate", "call reset_classifier(num_classes)")
        return self.head.pairwise_lipschitz()

    def require_structure(self) -> None:
        """Refuse a network that is no chain of layers of known kinds: see :mod:`sll_zoo.models.structure`.

        Raises:
            ConfigError: A layer of another kind, a hook, a replaced method, or a subclass that does more than chain its layers.
        """
        from sll_zoo.models.structure import require_structure  # not at the top: that module imports this one

        require_structure(self)

    def group_matcher(self, coarse: bool = False) -> Callable[[str], int]:
        """Return the function by which timm's ``group_parameters`` maps the name of a parameter or layer to its layer's number.

        Layers are numbered in the order of the computation, the head last; with ``coarse``, the network's children are numbered.
        """
        layers = [name for name, module in self.named_modules() if any(True for _ in module.parameters(recurse=False))]
        if coarse:
            children = list(dict.fromkeys(name.partition(".")[0] for name in layers))
            return lambda name: children.index(name.partition(".")[0])
        places = {name: place for place, name in enumerate(layers)}
        return lambda name: places[name if name in places else name.rpartition(".")[0]]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Save memory in mixed precision: keep the hidden units of residual convolutions only, not their inputs.

        Backward then computes the inputs again, for which the values between layers stay in float32
        (:class:`~sll_zoo.layers.ResidualStack`), as they do without autocast anyway.

        Raises:
            ConfigError: ``enable`` for a network that keeps the inputs of its layers.
        """
        family = FAMILIES.get(self.config.family)
        finds_again = (
            family is not None
            and family.form == "residual"
            and any(
                isinstance(stack, ResidualStack) and not any(isinstance(block, nn.Sequential) for block in stack)
                for stack in self.modules()
            )
        )
        if enable and not finds_again:
            raise ConfigError(
                f"gradient checkpointing of a {type(self).__name__} of family {self.config.family}",
                "train with smaller batches and accumulate_grad_batches, or a LipNet of family sll, maxmin=False, window=1",
            )
        self.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters without weight decay: log q, since only differences of its entries matter."""
        return {name for name, _ in self.named_parameters() if name.endswith("log_q")}

    def _centred(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch channels h w"]:
        if x.ndim != 4 or tuple(x.shape[1:]) != self.config.input_shape:
            raise InputError(
                f"images of shape {tuple(x.shape)}", f"this model takes (batch, {', '.join(map(str, self.config.input_shape))})"
            )
        centred: Tensor = self.center(x)
        return centred

    def _places(self, indices: int | Sequence[int] | None) -> list[int]:
        """Return the positions of the stages that ``indices`` selects, in order."""
        count = len(self.stages)
        if indices is None or isinstance(indices, int):
            last = count if indices is None else indices
            indices = range(-last, 0)
        if other := [index for index in indices if not -count <= index < count]:
            raise ConfigError(f"index {other[0]} of a network with {count} stages", f"give some of 0 to {count - 1}")
        return sorted({index % count for index in indices})
