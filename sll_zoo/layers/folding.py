"""Folding: a copy of a network in which every rescaling, and every matrix, is computed once."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import partial
from typing import Protocol, TypeGuard, runtime_checkable

import torch
from torch import Tensor, nn

from sll_zoo.compat import is_compiled
from sll_zoo.errors import ConfigError
from sll_zoo.layers.attachments import attachment
from sll_zoo.layers.circular import CircularConv2d

Size = tuple[int, int]
Sizes = Mapping[CircularConv2d, Size]
# Most bytes of matrices that :func:`fold_what_fits` stores: large orthogonal networks on 32 × 32 images need 3.5 GB.
UNASKED_BYTES = 4e9


@runtime_checkable
class Foldable(Protocol):
    """A layer that can compute its rescaling once and store it."""

    def fold(self) -> nn.Module:
        """Return the same map without a rescaling."""


class Shaped(Protocol):
    """A configuration that knows the shape of the images."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape of one image, (channels, height, width)."""


@runtime_checkable
class Structured(Protocol):
    """A network that can check its own structure, and knows which images it takes."""

    config: Shaped

    def require_structure(self) -> None:
        """Raise if the network is not a chain of known layers."""


def fold(module: nn.Module, dtype: torch.dtype | None = None, size: Size | None = None) -> nn.Module:
    """Return a copy of ``module`` in eval mode, with every layer that can fold replaced by its folded form.

    The rescalings are computed in float64 from the stored weights, and then rounded to the type of the copy. The original is not
    touched. In a module that is no network of the zoo, a layer with a hook or a replaced method, or of a subclass with another
    ``forward``, stays as it is.

    Circular convolutions (orthogonal, bro, sandwich) are stored as one matrix for each frequency of the images that they take,
    and the copy takes images of this size only. In float64 a layer takes 16 h (w // 2 + 1) rows cols bytes, with out rows and in
    columns, for a sandwich in + out rows and out columns. A network of the first two families, or of sandwich layers, on 32 × 32
    images takes 0.4 or 0.7 GB (small), 3.5 or 7.1 GB (large), 8.8 or 17.5 GB (xlarge), and nearly four times as much on 64 × 64.
    A kernel of one pixel is stored as one real matrix.

    Args:
        module: A network or a layer.
        dtype: Floating-point type of the copy; by default that of the module.
        size: (h, w) of the images that the circular convolutions of ``module`` take. A network of the zoo knows that itself.

    Raises:
        ConfigError: A network of the zoo that is no chain of layers of known kinds, or to which something is attached; a
            circular convolution in another module, without ``size``.

    Example:
        >>> import torch
        >>> from sll_zoo.layers import SLLLinear
        >>> layer, x = SLLLinear(4, 3).double(), torch.rand(2, 4, dtype=torch.float64)
        >>> torch.equal(fold(layer)(x), layer(x))
        True
    """
    dtype = dtype or next((tensor.dtype for tensor in _tensors(module)), torch.float64)
    exact = _fold(_exact_copy(module), {})
    sizes = _sizes(exact, size)
    if unknown := [layer for layer in _circular(exact) if layer not in sizes]:
        raise ConfigError(
            f"folding a {type(unknown[0]).__name__}, whose matrices serve one image size, for images of unknown or several sizes",
            "give that of the images that it takes: fold(module, size=(height, width))",
        )
    return _fold(exact, sizes).to(dtype).eval()


def fold_what_fits(module: nn.Module) -> nn.Module:
    """Return ``module`` folded in float64, except circular convolutions of unknown image size or with too large matrices.

    Those of unknown size, and all of them if their matrices would take more than 4 GB together, compute the matrices at every
    call as before.

    Raises:
        ConfigError: A network of the zoo that is no chain of layers of known kinds, or to which something is attached.
    """
    exact = _fold(_exact_copy(module), {})
    sizes = _sizes(exact, None)
    fits = sum(layer.bytes_at(size) for layer, size in sizes.items()) <= UNASKED_BYTES
    return _fold(exact, sizes if fits else {}).eval()


def is_folded(module: nn.Module, dtype: torch.dtype = torch.float64) -> bool:
    """Return whether :func:`fold` has nothing left to do for ``module``."""
    return (
        not module.training
        and all(tensor.dtype == dtype for tensor in _tensors(module))
        and not any(_is_foldable(child) or is_compiled(child) for child in module.modules())
        and not _circular(module)
    )


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.is_floating_point()]


def _is_foldable(module: nn.Module) -> TypeGuard[Foldable]:
    return isinstance(module, Foldable) and _knows_all_that_it_does(module, "fold")


def _is_foldable_at_size(module: nn.Module) -> TypeGuard[CircularConv2d]:
    return isinstance(module, CircularConv2d) and _knows_all_that_it_does(module, "fold_at")


def _knows_all_that_it_does(module: nn.Module, fold: str) -> bool:
    """Return whether ``fold`` covers all that a layer computes; a subclass may compute more."""
    if attachment(module):
        return False
    # The first class in the method resolution order that defines one of these methods must define ``fold``, too: otherwise its
    # change is missing in the folded form.
    methods = (fold, "forward", "functional")
    return fold in next((vars(kind) for kind in type(module).__mro__ if any(name in vars(kind) for name in methods)), ())


def _exact_copy(module: nn.Module) -> nn.Module:
    for part in module.modules():
        if isinstance(part, Structured):
            part.require_structure()
    return copy.deepcopy(module).double().eval().requires_grad_(False)


def _fold(module: nn.Module, sizes: Sizes) -> nn.Module:
    """Fold the layers of a module in place and return it; circular convolutions only if their image size is known or unused."""
    if _is_foldable(module):
        return module.fold()
    if _is_foldable_at_size(module):
        size = (1, 1) if module.is_pixelwise else sizes.get(module)
        return module.fold_at(size) if size else module
    for name, child in module.named_children():
        setattr(module, name, _fold(child, sizes))
    return module


def _circular(module: nn.Module) -> list[CircularConv2d]:
    """Return the circular convolutions that are not folded, and can be."""
    return [layer for layer in module.modules() if _is_foldable_at_size(layer)]


def _sizes(module: nn.Module, size: Size | None) -> dict[CircularConv2d, Size]:
    """Return the size of the images that each circular convolution takes, as far as it is known."""
    sizes: dict[CircularConv2d, Size] = {}
    for network in reversed([*module.modules()]):  # inner networks first: what contains them adds no new layers
        if isinstance(network, Structured) and not sizes.keys() >= set(_circular(network)):
            sizes |= _sizes_in(network, network.config.input_shape)
    return {**dict.fromkeys(_circular(module), size), **sizes} if size else sizes


@torch.no_grad()
def _sizes_in(network: nn.Module, input_shape: tuple[int, int, int]) -> dict[CircularConv2d, Size]:
    """Return the image size of each circular convolution that has one, by a run of the network in which they return zeros."""
    seen: dict[CircularConv2d, set[Size]] = {}
    layers = _circular(network)

    def note(layer: CircularConv2d, x: Tensor) -> Tensor:
        seen.setdefault(layer, set()).add((x.shape[2], x.shape[3]))
        return x.new_zeros(len(x), layer.out_channels, *x.shape[2:])

    for layer in layers:
        vars(layer)["forward"] = partial(note, layer)
    network(layers[0].weight.new_zeros(1, *input_shape))
    for layer in layers:
        del vars(layer)["forward"]
    return {layer: sizes.pop() for layer, sizes in seen.items() if len(sizes) == 1}
