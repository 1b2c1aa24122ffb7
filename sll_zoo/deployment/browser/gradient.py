"""The gradient of a weighted sum of a network's logits with respect to one image, as a graph for ONNX."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from sll_zoo.deployment.plain import in_plain_operations
from sll_zoo.layers import fold
from sll_zoo.models import LipschitzClassifier


def gradient_program(model: LipschitzClassifier) -> torch.export.ExportedProgram:
    """Return the graph from one image (1, channels, height, width) and weights (1, classes), in float32, to ``gradient``.

    It is the gradient of ⟨weights, logits⟩. Beside it are the ``logits``. Nothing is proved by either: they serve to search.

    Args:
        model: A network of the zoo; it is not changed.
    """
    folded = cast("LipschitzClassifier", fold(model, torch.float64).cpu())
    network = in_plain_operations(folded, by_products=False).float().eval().requires_grad_(False)

    def differentiated(images: Tensor, weights: Tensor) -> dict[str, Tensor]:
        images = images.detach().requires_grad_()
        logits = network(images)
        (gradient,) = torch.autograd.grad((logits * weights).sum(), images)
        return {"logits": logits.detach(), "gradient": gradient}

    inputs = (torch.rand(1, *model.config.input_shape), torch.rand(1, model.num_classes))
    table = {torch.ops.aten.convolution_backward.default: _adjoint_convolution}
    graph: nn.Module = make_fx(differentiated, decomposition_table=table)(*inputs)
    with torch.no_grad():
        return torch.export.export(graph, inputs, strict=False)


def _adjoint_convolution(
    gradient: Tensor, _x: Tensor, kernel: Tensor, _bias: Any, _stride: Any, padding: list[int], *_: Any
) -> tuple[Tensor, None, None]:
    """Return the gradient of a convolution of stride 1 with respect to its input: ONNX has no operation for it."""
    edge = kernel.shape[-1]
    adjoint = kernel.transpose(0, 1).flip(2, 3)
    return torch.conv2d(gradient, adjoint, padding=[edge - 1 - each for each in padding]), None, None
