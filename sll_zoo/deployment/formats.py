"""The two formats of a deployed network, ``torch.export`` and ONNX: how each is written, read and executed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sll_zoo.deployment.integers import store_integers
from sll_zoo.deployment.sound import require_kept
from sll_zoo.errors import ExportError
from sll_zoo.files import obstacle_to_file

# Name of the metadata inside a .pt2 file.
METADATA_FILE = "metadata.json"
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# ONNX's set of operations that the exporter's translations are written for; newer ones are not needed.
OPSET = 18
# Largest size of the weights, in bytes: a protocol buffer holds 2 GiB, and the graph needs some of that.
LARGEST_ONNX = 2**31 - 2**24

Runner = Callable[[Tensor], dict[str, Tensor]]


class Format(NamedTuple):
    """How a format is written, and read for execution on a CPU with torch's number of threads.

    ``products`` says whether convolutions in float64 are written as matrix products.
    """

    runtime: str
    products: bool
    write: Callable[[torch.export.ExportedProgram, Path, Mapping[str, str]], None]
    read: Callable[[Path], Runner]


def require_writable(path: Path) -> Format:
    """Return the format of a file to export to, and raise ExportError if it cannot be written.

    Raises:
        ExportError: Another suffix than .onnx and .pt2, packages that are not installed, or a place that cannot be written to.
    """
    if problem := obstacle_to_file(path):
        raise ExportError(problem, f"give the name of a file in a folder of yours that ends in {' or '.join(FORMATS)}")
    if path.suffix not in FORMATS:
        raise ExportError(f"{path} has the suffix {path.suffix!r}", f"give a file name that ends in {' or '.join(FORMATS)}")
    missing = [package for package in ONNX_PACKAGES if find_spec(package) is None] if path.suffix == ".onnx" else []
    if missing:
        raise ExportError(f"ONNX needs {', '.join(missing)}", 'run: pip install "sll_zoo[onnx]"; a .pt2 file needs nothing')
    return FORMATS[path.suffix]


def capture(network: nn.Module, image_shape: tuple[int, int, int], dtype: torch.dtype) -> torch.export.ExportedProgram:
    """Return the graph of a network that takes ``images`` (batch, *image_shape), for every size of the batch."""
    images = torch.zeros(2, *image_shape, dtype=dtype)
    batch = torch.export.Dim("batch")
    with torch.no_grad():
        program = torch.export.export(network, (images,), dynamic_shapes={"images": {0: batch}}, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # stack traces have paths of this machine
    return program


def _write_pt2(program: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, str]) -> None:
    torch.export.save(program, path, extra_files={METADATA_FILE: json.dumps(metadata, indent=2)})


def _read_pt2(path: Path) -> Runner:
    network = torch.export.load(path).module()

    @torch.no_grad()
    def run(images: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = network(images)
        return found

    return run


def write_onnx(
    program: torch.export.ExportedProgram, path: Path, metadata: Mapping[str, str], inputs: Sequence[str] = ("images",)
) -> None:
    """Write a graph whose outputs are a dictionary as an .onnx file; weights that are integers times scales are stored as such.

    Raises:
        ExportError: An operation that ONNX does not have, too many weights, or, in a graph with ``slack``, a number that a
            runtime might leave out.
    """
    size = sum(tensor.nbytes for tensor in program.state_dict.values())
    if size > LARGEST_ONNX:
        raise ExportError(f"{size / 2**30:.1f} GiB of weights", "an .onnx file holds less than 2 GiB: write a .pt2 file")
    outputs = program.call_spec.out_spec.unflatten(range(program.call_spec.out_spec.num_leaves))
    names: dict[str, Any] = {"input_names": [*inputs], "output_names": [*outputs]}
    try:
        found: Any = torch.onnx.export(program, (), **names, opset_version=OPSET, verbose=False)
    except torch.onnx.OnnxExporterError as error:
        cause = error.__cause__ or error  # the cause names the operation
        raise ExportError(f"ONNX has no form of a layer ({str(cause).splitlines()[0]})", "write a .pt2 file") from error
    graph = found.model.graph
    for described in (*graph.all_nodes(), *graph.inputs, *graph.outputs):
        described.metadata_props.clear()  # the exporter's notes have paths of this machine
    for value in (*graph.inputs, *graph.outputs):
        if value.shape[0] != 1:
            value.shape[0] = "batch"
    if "slack" in outputs:
        require_kept(_scalars(graph))
    store_integers(graph)
    found.model.metadata_props.update(metadata)
    found.save(path)


def _scalars(graph: Any) -> Iterator[tuple[str, float]]:
    """Yield the operation and the number of each constant operand that is a single number."""
    for operation in graph.all_nodes():
        for operand in operation.inputs:
            if operand is not None and operand.const_value is not None and operand.const_value.size == 1:
                yield operation.op_type, float(operand.const_value.numpy().item())


def _read_onnx(path: Path) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's classes of errors are not public
        if "NOT_IMPLEMENTED" not in str(error):
            raise
        raise ExportError(f"onnxruntime cannot execute a layer in this dtype ({error})", "write a .pt2 file") from error

    names = [output.name for output in session.get_outputs()]

    def run(images: Tensor) -> dict[str, Tensor]:
        return dict(zip(names, map(torch.from_numpy, session.run(names, {"images": images.numpy()})), strict=True))

    return run


FORMATS = {
    ".onnx": Format("onnxruntime", True, write_onnx, _read_onnx),
    ".pt2": Format("torch", False, _write_pt2, _read_pt2),
}
