"""The commands ``export``, which writes a network as a file for other runtimes, and ``serve``, for a browser on this machine."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from sll_zoo.deployment import Exported, export, require_writable
from sll_zoo.environment import describe_device
from sll_zoo.reports.words import size_in_words
from sll_zoo.zoo import create_model
from sll_zoo.zoo.folder import shipped_folder


def run_export(model: str, out: Path, *, dtype: str, sound: bool) -> None:
    """Write a model as a file for another runtime."""
    require_writable(out)
    network = create_model(model, pretrained=True)
    print(_describe(export(network, out, dtype=getattr(torch, dtype), name=model, sound=sound)))


def run_serve(model: str, *, port: int) -> None:
    """Serve the page with a model until Ctrl-C."""
    from sll_zoo.deployment.browser import server_of, write_exported, write_network, write_page

    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with server_of(folder, port) as server:  # first, since a port may be taken
            name = re.sub(r"[^\w.-]", "_", Path(model).stem if model.endswith(".onnx") else model)  # of a folder
            write_page(folder, [name])
            if model.endswith(".onnx"):
                write_exported(folder / "networks" / name, Path(model))
            else:
                network = create_model(model, pretrained=True).eval()
                write_network(folder / "networks" / name, network, name, shipped_folder(model))
            print(f"http://127.0.0.1:{server.server_port}/ (Ctrl-C ends it)", flush=True)
            with suppress(KeyboardInterrupt):
                server.serve_forever()


def _describe(found: Exported) -> str:
    """Return three lines: the file, how it compares with PyTorch, and its latency."""
    shape, dtype = ", ".join(map(str, found.input_shape)), str(found.dtype).removeprefix("torch.")
    logits = f"logits (batch, {found.num_classes})"
    outputs = f"{logits}, radius (batch,) and slack (batch,)" if found.sound else f"{logits} and radius (batch,)"
    radii = "radii plus slack" if found.sound else "radii"
    errors = f"logits within {found.error:.1g} of their size, {radii} within {found.radius_error:.1g}"
    device = describe_device(torch.device("cpu"))
    lines = [
        f"{found.path}: {size_in_words(found.size)}, {dtype}; images (batch, {shape}) in [0, 1] to {outputs}",
        f"checked in {found.runtime} against PyTorch in float64: {errors}",
        f"one image: {1000 * found.latency:.3g} ms, the median of {found.runs} runs on {device}",
    ]
    return "\n".join(lines)
