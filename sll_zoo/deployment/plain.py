"""Rewriting a folded network, layer by layer, in operations that every runtime has."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import cast

from torch import Tensor, nn

from sll_zoo.deployment.operations import (
    ConvolutionalResidual,
    DenseResidual,
    FrequencyProduct,
    LargestPixel,
    ProductConvolution,
    SumPool,
)
from sll_zoo.layers import (
    FoldedCircular,
    FoldedLinearForm,
    FoldedResidual,
    FoldedSandwich,
    NormOneAvgPool2d,
    UnitRowsLinear,
)
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.chain import parts, random_images, trace


def in_plain_operations(folded: LipschitzClassifier, by_products: bool) -> LipschitzClassifier:
    """Return a copy of a network of :func:`~sll_zoo.fold`, in float64, with every layer that has a plain form replaced by it.

    Args:
        folded: The network.
        by_products: Whether a convolution is written as a matrix product, for runtimes that have none in float64.
    """
    network = copy.deepcopy(folded)
    for call in trace(network, random_images(network, 1)).calls:
        for part in parts(call):
            if plain := _plain(part.layer, part.x, by_products):
                network.set_submodule(part.name, plain)
    for buffer in network.buffers():
        buffer.data = buffer.contiguous()  # files hold contiguous tensors
    return network


def _plain(layer: nn.Module, x: Tensor, by_products: bool) -> nn.Module | None:
    """Return the plain form of a layer, for inputs like ``x``; None for one that has no other than its own."""
    size = (x.shape[-2], x.shape[-1])
    convolution = partial(ProductConvolution, size=size) if by_products else FoldedLinearForm
    match layer:
        case UnitRowsLinear():
            return FoldedLinearForm(layer.unit_rows(), layer.bias, "zeros")
        case FoldedResidual() if layer.weight.ndim == 2:
            return DenseResidual(layer)
        case FoldedResidual():
            return ConvolutionalResidual(layer, size if by_products else None)
        case FoldedLinearForm() if layer.weight.ndim == 4:
            return convolution(layer.weight, layer.bias, layer.padding_mode)
        case FoldedCircular() | FoldedSandwich():
            return _of_matrices(layer, x, convolution)
        case NormOneAvgPool2d():
            return SumPool(cast("int", layer.kernel_size))
        case nn.AdaptiveMaxPool2d(output_size=1):
            return LargestPixel()
    return None


def _of_matrices(layer: FoldedCircular | FoldedSandwich, x: Tensor, convolution: Callable[..., nn.Module]) -> nn.Module:
    """Return a layer of stored matrices, for inputs like ``x``: for a sandwich two products with an activation between them."""
    matrices = layer.matrices()

    def product(matrices: Tensor, bias: Tensor | None) -> nn.Module:
        if layer.size:
            return FrequencyProduct(matrices, bias, layer.size)
        if x.ndim == 4:  # a product at every pixel is a 1 x 1 convolution
            return convolution(matrices[:, :, None, None], bias, "zeros")
        return FoldedLinearForm(matrices, bias, "zeros")

    if isinstance(layer, FoldedCircular):
        return product(matrices, layer.bias)
    out = len(layer.psi)
    a, b = matrices[..., :out, :], matrices[..., out:, :].mH
    hidden = product(math.sqrt(2) * b / layer.psi[:, None], layer.bias)
    return nn.Sequential(hidden, nn.ReLU(), product(math.sqrt(2) * a * layer.psi, None))
