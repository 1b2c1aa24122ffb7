"""Larger networks that start as the same function: more channels, inner units and layers, and a finer image.

With V = Wᵀ of a residual layer, one row for each inner unit, the layer of the large network has

    V' = [ V  ~ ]    ~ : random numbers, of ``WHISPER`` times the size of the old row, or, in a new row, of V.
         [ ~  ~ ]

Its new channels enter as zeros, and old layers neither hear them nor write more than a rounding error there. A new unit i has
Tᵢ = Σⱼ |WᵀW|ᵢⱼ qⱼ/qᵢ, which is as small as its weights, and adds as little to T of the old ones. So its effect, which has the
size of its weights, is below rounding, while in ``sll`` its gradient is as large as any other: V σ(V x)/T falls with V once, not
twice. In the families whose T falls less with the weights of one unit the gradient is smaller, in ``cpl`` as small as the
weights, and an optimizer that divides it by its size wakes the unit.

A new layer cannot be small as a whole, since V T⁻¹ Vᵀ does not change with the size of V. If there are new channels, its columns
of old ones are 0: it works on new channels alone, and its gradient reaches the old ones wherever the bias makes a unit active.
Without new channels, its bias is so low that each unit is silent on nearly all of the given images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import zip_longest
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.errors import ConfigError
from sll_zoo.functional.convolution import same_conv2d
from sll_zoo.layers import FAMILIES
from sll_zoo.layers.residual import ResidualConv2d, ResidualLinear
from sll_zoo.models.config import LipNetConfig, NetworkConfig
from sll_zoo.models.lipnet import LipNet

WHISPER = 2.0**-50
GROWING = ("width", "conv_layers", "conv_inner", "dense_layers", "dense_inner")
# Share of the images, and of their pixels, on which a unit of a silent layer is active.
ACTIVE = 0.001


class Pair(NamedTuple):
    """A parameter of a network, and the one that it becomes in a larger network."""

    small: nn.Parameter
    large: nn.Parameter
    pixels: int  # that share the second axis: those of a window
    is_log_q: bool

    def embed(self, small: Tensor, large: Tensor) -> None:
        """Write the numbers of the small parameter into their places among those of the large one."""
        corner = _by_pixel(small, self.pixels)
        _by_pixel(large, self.pixels)[tuple(map(slice, corner.shape))] = corner


def grown(model: LipNet, config: LipNetConfig, images: Float[Tensor, "batch channels h w"] | None = None) -> LipNet:
    """Return a larger network that starts as the same function, in the dtype and on the device of ``model``.

    Args:
        model: The small network; it is not changed.
        config: The shape of the large one.
        images: In [0, 1], such as a batch of training images; they are needed for more layers of the same width.

    Raises:
        ConfigError: A shape that the network cannot grow to, a network that is not as its configuration says, such as a folded
            one, or one in float16, in which new weights would be 0; or images that are missing.
    """
    small = model.config
    require_growth(small, config)
    _require_own_layers(model)
    wider = config.width > small.width
    if needs_images(small, config) and images is None:
        raise ConfigError("more layers of the same width", "give images, on which the units of new layers are made silent")
    devices = [model.center.mean.device] if model.center.mean.is_cuda else []
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.manual_seed(0)  # all processes of a training make the same network
        large = LipNet(config).to(model.center.mean)
        for pair in corresponding(model, large):
            _whisper(pair)
        new_convs, new_denses = convs(large)[small.conv_layers :], denses(large)[small.dense_layers :]
        if wider:
            for conv in new_convs:
                _by_pixel(conv.weight, config.window**2)[:, : small.width] = 0
            for dense in new_denses:
                dense.weight[:, : small.num_features] = 0
        elif images is not None:
            _silence(large, [*new_convs, *new_denses], images.to(model.center.mean))
    large.set_grad_checkpointing(model.grad_checkpointing)
    return large.train(model.training)


def _require_own_layers(model: LipNet) -> None:
    """Refuse a network whose layers are not those that its configuration makes: they would be lost."""
    if model.center.mean.dtype == torch.float16:
        raise ConfigError("growth in float16", "grow it in float32 or bfloat16: new weights are too small for float16")
    with torch.device("meta"):
        usual = LipNet(model.config)
    for (name, layer), (other, expected) in zip_longest(model.named_modules(), usual.named_modules(), fillvalue=("", None)):
        if name != other or _settings(layer) != _settings(expected):
            raise ConfigError(
                f"growth of a network whose layer {name or other} is not as its configuration says",
                "grow it before it is folded, and with the layers that create_model gave it",
            )


def _settings(layer: nn.Module | None) -> tuple[Any, ...]:
    tensors = {name: tuple(value.shape) for name, value in layer.state_dict().items()} if layer else {}
    return (type(layer), tensors, *(getattr(layer, name, None) for name in ("activation", "padding_mode", "power")))


def require_growth(small: NetworkConfig, large: NetworkConfig) -> None:
    """Raise ConfigError unless a network of the shape ``small`` can grow to the shape ``large``."""
    if not isinstance(small, LipNetConfig) or not isinstance(large, LipNetConfig):
        raise ConfigError(f"growth from {type(small).__name__} to {type(large).__name__}", "only a LipNet can grow")
    if FAMILIES[small.family].form != "residual":
        growing = ", ".join(name for name, family in FAMILIES.items() if family.form == "residual")
        raise ConfigError(
            f"growth of family {small.family}", f"choose one of {growing}: elsewhere a new unit cannot start without an effect"
        )
    if small.maxmin:
        raise ConfigError("growth with maxmin=True", "train without it: MaxMin behind a new layer has an effect")
    changes = {field.name: (getattr(small, field.name), getattr(large, field.name)) for field in fields(LipNetConfig)}
    for name, (old, new) in changes.items():
        if name in GROWING and new < old:
            raise ConfigError(f"growth from {name}={old} to {new}", "give at least as many")
        if name not in (*GROWING, "downsample", "pool") and new != old:
            raise ConfigError(
                f"growth from {name}={old!r} to {new!r}", f"keep it: {', '.join(GROWING)} can grow, and downsample fall"
            )
    if small.downsample % large.downsample or small.downsample * small.pool != large.downsample * large.pool:
        raise ConfigError(
            f"growth from downsample={small.downsample}, pool={small.pool} to {large.downsample}, {large.pool}",
            "divide downsample by a number and multiply pool by the same",
        )


def needs_images(small: NetworkConfig, large: NetworkConfig) -> bool:
    """Return whether growth takes images: for more layers of the same width."""
    return large.depth > small.depth and large.width == small.width


def corresponding(small: LipNet, large: LipNet) -> Iterator[Pair]:
    """Yield each parameter with the one that it becomes in a larger network, whose new layers come behind the old ones."""
    window = small.config.window**2
    stages: list[tuple[Sequence[nn.Module], Sequence[nn.Module], int]] = [
        (convs(small), convs(large), window),
        (denses(small), denses(large), 1),
        ([small.head], [large.head], 1),
    ]
    for old_layers, new_layers, pixels in stages:
        for old, new in zip(old_layers, new_layers, strict=False):
            for name, parameter in old.named_parameters():
                yield Pair(parameter, new.get_parameter(name), pixels if name == "weight" else 1, name == "log_q")


def convs(network: LipNet) -> list[ResidualConv2d]:
    """Return the convolutions of a network."""
    return [layer for layer in network.convs.modules() if isinstance(layer, ResidualConv2d)]


def denses(network: LipNet) -> list[ResidualLinear]:
    """Return the dense layers of a network."""
    return [layer for layer in network.denses.modules() if isinstance(layer, ResidualLinear)]


def _by_pixel(values: Tensor, pixels: int) -> Tensor:
    """Return a view whose second axis is one pixel's channels: in a window, new channels of a pixel come behind its old ones."""
    return torch.unflatten(values, 1, (pixels, -1)).transpose(1, 2) if pixels > 1 else values


def _whisper(pair: Pair) -> None:
    """Fill a large parameter with the small one; elsewhere with tiny weights, biases of 0, and log q of the old ones' mean."""
    small, large = pair.small, pair.large
    if small.ndim > 1:
        sizes = small.square().mean().sqrt().repeat(len(large))
        sizes[: len(small)] = small.flatten(1).square().mean(1).sqrt()  # a row of zeros, whose unit is off, stays one
        large.normal_().mul_(WHISPER * sizes.view(-1, *[1] * (large.ndim - 1)))
    else:
        large.fill_(small.mean() if pair.is_log_q else 0)
    pair.embed(small, large)


def _silence(network: LipNet, layers: Sequence[nn.Module], images: Tensor) -> None:
    """Give the units of some layers biases with which they are active on a share of ``ACTIVE`` of the images' pixels."""

    def lower(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        units = inputs[0] @ weight.mT if weight.ndim == 2 else same_conv2d(*inputs, weight, None, "zeros")
        units = units.movedim(1, 0).flatten(1)
        rank = min(math.ceil((1 - ACTIVE) * units.shape[1]), max(1, units.shape[1] - 1))
        bias.copy_(-units.kthvalue(rank, dim=1).values)

    handles = [layer.register_forward_pre_hook(lower) for layer in layers]
    try:
        network(images)
    finally:
        for handle in handles:
            handle.remove()
