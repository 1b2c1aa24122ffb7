"""Weights of 4, 6, 8 or 16 bits: rounded row by row, and packed with as many bits as that takes.

4 and 6 bits are for large tensors, which hold nearly all weights of a network that is worth it. Small ones, such as most kernels
and heads, keep 8: they cost little space, and rounding them to 4 bits would cost most of the accuracy that rounding costs.

Every family computes its constraint from whatever its weights are, so that a network of rounded weights is certified like any
other. A weight is an integer from −L to L, L = 2^(bits−1) − 1, times the scale of its row: max |w| / L, rounded to the nearest
bfloat16. Integers of 7 bits times scales of 8 are exact in float32. The largest weight of a row becomes ±L whichever way its
scale was rounded, so that rounding once more changes nothing: what a file holds is what was measured, to the bit.

In a file, a row is a stream of unsigned integers, each weight plus L, the highest bit first, filled up to whole bytes; the scales
lie beside it. 16 bits are bfloat16. Tensors without rows of several numbers (biases, log q, means) stay float32.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from math import prod

import numpy as np
import torch
from torch import Tensor

from sll_zoo.errors import ConfigError, InputError, WeightsError
from sll_zoo.layers import FAMILIES, HEADS, SortLinear
from sll_zoo.models import LipschitzClassifier

# Numbers of bits that a weight can be stored with; what they cost is in benchmarks/rounding.md.
BITS = (4, 6, 8, 16, 32)
# Numbers in a tensor from which it is rounded to less than 8 bits.
LARGE = 2**16
# Suffix of the name under which the scales of a tensor's rows are stored.
SCALE = ".scale"
# Smallest scale: the smallest normal number, also for rows whose largest weight asks for less.
SMALLEST_SCALE = 2.0**-126
# The largest product of a scale and an integer: half of what float32 holds.
LARGEST_PRODUCT = 2.0**127


def quantize(model: LipschitzClassifier, bits: int = 8) -> LipschitzClassifier:
    """Return a copy of a network with its weights rounded, in float32; the rescalings follow from the rounded weights.

    The copy is the network that a packed file of :func:`~sll_zoo.zoo.publishing.save.save_pretrained` gives back, to the bit.
    ``sll_zoo.evaluate(sll_zoo.quantize(model), batches)`` measures what rounding costs. The copy can be trained further.

    Args:
        model: A network of the zoo, not folded; it is not changed.
        bits: Bits of a weight: 4, 6, 8, 16 for bfloat16, or 32, which changes nothing. Tensors of less than 2¹⁶ numbers have 8
            bits at least.

    Raises:
        ConfigError: Another number of bits.
        InputError: Something else than a network of the zoo, or one with layers that do not compute their constraint.
        WeightsError: Weights that are not finite, or above 1e38.

    Example:
        >>> from sll_zoo import create_model
        >>> model = create_model("sll_nano.digits")
        >>> len(quantize(model, bits=4).denses[0].weight[0].unique()) <= 15
        True
    """
    require_quantizable(model, bits)
    copied = copy.deepcopy(model).float()
    state = {key: value.cpu() for key, value in copied.state_dict().items()}
    copied.load_state_dict(unpack(pack(state, bits), state, bits))
    return copied


def require_bits(bits: int) -> None:
    """Raise ConfigError for a number of bits that no weight is packed with."""
    if not isinstance(bits, int) or bits not in BITS:
        raise ConfigError(f"bits={bits!r}", f"choose one of {', '.join(map(str, BITS))}")


def require_quantizable(model: LipschitzClassifier, bits: int) -> None:
    """Raise the errors of :func:`quantize` that do not depend on the values of the weights.

    Folded layers are refused: they would keep the rescaling of the weights before rounding.
    """
    require_bits(bits)
    if not isinstance(model, LipschitzClassifier):
        raise InputError(f"quantising a {type(model).__name__}", "give a network of create_model")
    family = FAMILIES.get(model.config.family)
    known = (*(family.classes if family else (SortLinear,)), *HEADS.values())
    for name, layer in model.named_modules():
        tensors = {**dict(layer.named_parameters(recurse=False)), **dict(layer.named_buffers(recurse=False))}
        if type(layer) not in known and widths(tensors, bits):
            raise InputError(
                f"{name} is a {type(layer).__name__}, which does not compute its constraint", "quantise a network, then fold it"
            )


def pack(state: Mapping[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Return a network's tensors, with the weights among them rounded and packed, and their scales under ``NAME.scale``.

    Args:
        state: Tensors by name, on the CPU in float32.
        bits: One of ``BITS``.

    Returns:
        For a weight (rows, ...) with n numbers in a row: uint8 (rows, ⌈n width/8⌉) for its :func:`widths`, and its scales in
        bfloat16, (rows,). For 16 bits: the weight in bfloat16.

    Raises:
        WeightsError: Weights that are not finite, or above 1e38.
    """
    packed = dict(state)
    for key, width in widths(state, bits).items():
        if width == 16:
            packed[key] = state[key].bfloat16()
            possible = bool(packed[key].isfinite().all())
        else:
            rows = state[key].flatten(1)
            scale = packed[key + SCALE] = _scale(rows, width)
            packed[key] = _stream(_round(rows, scale, width), width)
            possible = _are_scales(scale.float(), width)
        if not possible:
            raise WeightsError(f"{key} holds NaN, infinity, or too large a weight", "lower the learning rate and train again")
    return packed


def unpack(packed: Mapping[str, Tensor], expected: Mapping[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Return the rounded tensors that :func:`pack` has packed, in float32.

    Args:
        packed: Tensors in which :func:`fault` finds nothing wrong.
        expected: Tensors of the shapes that the unpacked ones have, on any device.
        bits: Bits of a weight.
    """
    state = dict(packed)
    for key, width in widths(expected, bits).items():
        if width == 16:
            state[key] = state[key].float()
        else:
            shape, scale = expected[key].shape, state.pop(key + SCALE).float()
            numbers = _codes(state[key], width, prod(shape[1:])).float().sub_(_levels(width))
            state[key] = numbers.mul_(scale[:, None]).view(shape)
    return state


def fault(packed: Mapping[str, Tensor], expected: Mapping[str, Tensor], bits: int) -> str:
    """Return in a few words why tensors cannot be unpacked, an empty text if they can; arguments as for :func:`unpack`."""
    for key, width in widths(expected, bits).items():
        rows, row = len(expected[key]), prod(expected[key].shape[1:])
        wanted = {key: ((rows, _row_bytes(row, width)), torch.uint8), key + SCALE: ((rows,), torch.bfloat16)}
        if width == 16:
            wanted = {key: (tuple(expected[key].shape), torch.bfloat16)}
        for name, kind in wanted.items():
            if name not in packed:
                return f"{name} is absent in it"
            found = (tuple(packed[name].shape), packed[name].dtype)
            if found != kind:
                return f"{name} is {found[0]} of {found[1]} in it, not {kind[0]} of {kind[1]} as {width} bits a weight take"
        if width < 16 and not _are_scales(packed[key + SCALE].float(), width):
            return f"{key + SCALE} has numbers that are no scales"
    return ""


def rounded(weight: Tensor, width: int) -> Tensor:
    """Return a weight (rows, ...) rounded as :func:`pack` rounds it, in float32 on any device.

    The quotients of :func:`pack` are in float64: one that is next to a half may be rounded the other way here.
    """
    if width == 16:
        return weight.bfloat16().float()
    rows = weight.flatten(1)
    scale = _scale(rows, width).float()[:, None]
    return (rows / scale).round_().mul_(scale).view_as(weight)


def widths(state: Mapping[str, Tensor], bits: int) -> dict[str, int]:
    """Return the bits of a number in each tensor that is rounded: those with rows of several numbers, hence not the mean."""
    rows = {key: value for key, value in state.items() if bits < 32 and value.ndim >= 2 and prod(value.shape[1:]) > 1}
    return {key: bits if value.numel() >= LARGE else max(bits, 8) for key, value in rows.items()}


def _levels(bits: int) -> int:
    return (1 << bits - 1) - 1


def _scale(rows: Tensor, bits: int) -> Tensor:
    """Return the scale of each row, in bfloat16."""
    return (rows.abs().amax(1) / _levels(bits)).clamp(min=SMALLEST_SCALE).bfloat16()


def _round(rows: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Return rows (rows, n) as unsigned integers in uint8."""
    numbers = (rows.double() / scale.double()[:, None]).round()  # float64, so that no quotient crosses one half
    return (numbers + _levels(bits)).to(torch.uint8)


def _are_scales(scale: Tensor, bits: int) -> bool:
    """Return whether each scale is a normal number whose product with every integer of so many bits fits in float32."""
    return bool(((scale >= SMALLEST_SCALE) & (scale * (1 << bits - 1) <= LARGEST_PRODUCT)).all())


def _row_bytes(n: int, bits: int) -> int:
    return (n * bits + 7) // 8


def _stream(codes: Tensor, bits: int) -> Tensor:
    """Return integers (rows, n) as rows of bytes."""
    digits = np.unpackbits(codes.numpy()[..., None], axis=2)[..., -bits:]
    return torch.from_numpy(np.packbits(digits.reshape(len(codes), -1), axis=1))


def _codes(stream: Tensor, bits: int, n: int) -> Tensor:
    """Return rows of bytes as integers (rows, n)."""
    if bits == 8:
        return stream
    if bits == 4:
        return torch.stack([stream >> 4, stream & 15], 2).flatten(1)[:, :n]
    digits = np.zeros((len(stream), n, 8), np.uint8)
    digits[..., -bits:] = np.unpackbits(stream.numpy(), axis=1, count=n * bits).reshape(-1, n, bits)
    return torch.from_numpy(np.packbits(digits, axis=None).reshape(-1, n))
