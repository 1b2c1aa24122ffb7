"""The command that hands a network to other runtimes: ``export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from sll_zoo.deployment import Exported, export, require_writable
from sll_zoo.environment import describe_device
from sll_zoo.zoo import create_model
from sll_zoo.zoo.card import size_in_words

DTYPES = ("float32", "float64")
RADII = (
    "The file gives logits, and for each image the certified L2 radius in pixels of [0, 1]. The certificate is one of exact "
    "arithmetic: in float64 the radii are those that `sll-zoo certify` measures; in float32 logits are rounded by about 1e-6 of "
    "their size, which the radii do not account for."
)


def add_commands(commands: Any) -> None:
    """Add the command to the parsers of a command line."""
    exporting = commands.add_parser(
        "export", help="write a model as one .onnx or .pt2 file, with its certified radii", description=RADII
    )
    exporting.add_argument("model", metavar="MODEL", help="as for certify")
    exporting.add_argument(
        "out",
        type=Path,
        metavar="OUT",
        help="model.onnx, which needs sll-zoo[onnx], or model.pt2 of torch.export; replaced whole",
    )
    exporting.add_argument("--dtype", choices=DTYPES, default=DTYPES[0], help="of images, logits and radii (%(default)s)")
    exporting.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    require_writable(options.out)
    model = create_model(options.model, pretrained=True)
    print(_describe(export(model, options.out, dtype=getattr(torch, options.dtype), name=options.model)))


def _describe(found: Exported) -> str:
    """Return what was written and how it was seen to work, in three lines."""
    shape, dtype = ", ".join(map(str, found.input_shape)), str(found.dtype).removeprefix("torch.")
    outputs = f"logits (batch, {found.num_classes}) and radius (batch,)"
    errors = f"logits within {found.error:.1g} of their size, radii within {found.radius_error:.1g}"
    device = describe_device(torch.device("cpu"))
    lines = [
        f"{found.path}: {size_in_words(found.size)}, {dtype}; images (batch, {shape}) in [0, 1] to {outputs}",
        f"checked in {found.runtime} against PyTorch in float64: {errors}",
        f"one image: {1000 * found.latency:.3g} ms, the median of {found.runs} runs on {device}",
    ]
    return "\n".join(lines)
