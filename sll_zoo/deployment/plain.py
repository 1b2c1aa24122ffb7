"""A folded network, layer by layer in operations that every runtime has."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from sll_zoo.certificates.soundness.fourier import StoredMatrices, StoredOrthogonal, StoredSandwich, stored
from sll_zoo.deployment.operations import (
    ConvolutionalResidual,
    DenseResidual,
    FrequencyProduct,
    LargestPixel,
    ProductConvolution,
    SumPool,
)
from sll_zoo.layers import FoldedLinearForm, FoldedResidual, NormOneAvgPool2d, UnitRowsLinear
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.chain import random_images, trace


def in_plain_operations(folded: LipschitzClassifier, by_products: bool) -> LipschitzClassifier:
    """Return a copy of a network of :func:`~sll_zoo.fold`, in float64, with every layer that has a plain form replaced by it.

    Args:
        folded: The network.
        by_products: Whether a convolution is written as a matrix product, for runtimes that have none in float64.
    """
    network = copy.deepcopy(folded)
    for call in trace(network, random_images(network, 1)).calls:
        weight = getattr(call.layer, "weight", None)
        # To a kernel of one pixel, every pixel is an image of its own.
        pixelwise = weight is not None and weight.shape[2:] == (1, 1)
        matrices = stored(call.layer, call.x[..., :1, :1] if pixelwise else call.x, torch.float64)
        if plain := _plain(matrices or call.layer, call.x, by_products):
            network.set_submodule(call.name, plain)
    for buffer in network.buffers():
        buffer.data = buffer.contiguous()  # as files hold them
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
            # Vᵀ diag(2/T) is a convolution, too, with the kernel turned by half a turn.
            adjoint = (layer.weight * layer.step[:, None, None, None]).transpose(0, 1).flip(2, 3)
            taking = (convolution(layer.weight, layer.bias, layer.padding_mode), convolution(adjoint, None, layer.padding_mode))
            return ConvolutionalResidual(*taking, layer.activation)
        case FoldedLinearForm() if layer.weight.ndim == 4:
            return convolution(layer.weight, layer.bias, layer.padding_mode)
        case StoredMatrices():
            return _of_matrices(layer, size, convolution)
        case NormOneAvgPool2d():
            return SumPool(cast("int", layer.kernel_size))
        case nn.AdaptiveMaxPool2d(output_size=1):
            return LargestPixel()
    return None


def _of_matrices(layer: StoredMatrices, size: tuple[int, int], convolution: Callable[..., nn.Module]) -> nn.Module:
    """Return an orthogonal or sandwich layer, of vectors or of images of ``size``."""
    matrices = layer.matrices

    def product(matrices: Tensor, bias: Tensor | None) -> nn.Module:
        if not matrices.is_complex():
            return FoldedLinearForm(matrices, bias, "zeros")
        if matrices.shape[:2] == (1, 1):
            return convolution(matrices.real.permute(2, 3, 0, 1), bias, "zeros")
        return FrequencyProduct(matrices, bias, size)

    if isinstance(layer, StoredSandwich):
        out = len(layer.psi)
        a, b = matrices[..., :out, :], matrices[..., out:, :].mH
        hidden = product(math.sqrt(2) * b / layer.psi[:, None], layer.bias)
        return nn.Sequential(hidden, nn.ReLU(), product(math.sqrt(2) * a * layer.psi, None))
    return product(matrices, layer.bias if isinstance(layer, StoredOrthogonal) else None)
