"""Exporting a network to one file that gives logits and certified radii without this package, checked before it appears."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from sll_zoo.certificates.soundness import FrozenNetwork, freeze
from sll_zoo.deployment.checking import TIMED_RUNS, TOLERANCE, compare, latency
from sll_zoo.deployment.formats import capture, require_writable
from sll_zoo.deployment.plain import in_plain_operations
from sll_zoo.deployment.sound import SoundlyDeployed
from sll_zoo.environment import versions_of, weights_sha256
from sll_zoo.errors import ConfigError
from sll_zoo.files import atomic_write
from sll_zoo.functional.certificate import certified_radius
from sll_zoo.functional.finite import require_finite
from sll_zoo.functional.norms import norm_label
from sll_zoo.layers import fold
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.labels import label_names

RADIUS = (
    "{norm} distance in pixels of [0, 1] within which no image in [0, 1] has another class: a proof in exact arithmetic for the "
    "weights that weights_sha256 names. 0 where nothing is proved: at a tie, and for images with NaN or values outside [0, 1]."
)
SOUND = (
    "{norm} distance in pixels of [0, 1] within which no image has another class, as this file computes it in float64, whatever "
    "the rounding of sums of products; slack was subtracted for it. The network is that which weights_sha256 names, its layers "
    "shrunk a little until their bounds were proved. 0 where nothing is proved: at a tie, and for images outside [0, 1]."
)
ROUNDED = (
    " Logits in float32 are rounded, to within 1e-5 of their size on the images tried; the radius does not account for that."
)


@dataclass(frozen=True)
class Exported:
    """The file that :func:`export` wrote, and how it compares with PyTorch.

    Attributes:
        path: The file.
        size: Its size in bytes.
        dtype: Dtype of images, logits and radius.
        input_shape: Shape of one image, (channels, height, width).
        num_classes: Number of logits.
        runtime: The runtime that loaded the file, and its version.
        error: The largest difference to the logits of PyTorch in float64, relative to the largest logit.
        radius_error: The largest difference to the radii of :func:`~sll_zoo.certify`, in pixels of [0, 1]; of a sound file, of
            radius + slack, the radius in exact arithmetic.
        sound: Whether radii account for rounding, and ``slack`` is an output.
        latency: Seconds for one image on the CPU, the median of ``runs``.
        runs: Number of timed runs.
        threads: Number of threads that the runtime was given.
    """

    path: Path
    size: int
    dtype: torch.dtype
    input_shape: tuple[int, int, int]
    num_classes: int
    runtime: str
    error: float
    radius_error: float
    sound: bool
    latency: float
    runs: int
    threads: int


class Deployed(nn.Module):
    """The computation of the file: images to ``logits`` (batch, classes) and ``radius`` (batch,).

    Args:
        network: The network in plain operations.
        constants: Lᵢⱼ of the logits' differences, (classes, classes), in float64.
    """

    constants: Tensor

    def __init__(self, network: nn.Module, constants: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("constants", constants)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return logits and radius; images outside [0, 1], which :func:`~sll_zoo.certify` refuses, have radius 0."""
        logits = self.network(images)
        _, radius = certified_radius(logits, self.constants)
        valid = ((images >= 0) & (images <= 1)).flatten(1).all(1)
        return {"logits": logits, "radius": torch.where(valid, radius, 0.0).to(logits.dtype)}


def export(
    model: LipschitzClassifier,
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    name: str | None = None,
    sound: bool = False,
) -> Exported:
    """Write a network as an ``.onnx`` or ``.pt2`` file that needs nothing of this package.

    T, the Cayley transforms and the head's norms are computed in float64 and stored. The file takes ``images`` (batch, channels,
    height, width) in [0, 1], for any batch, and gives ``logits`` (batch, classes) and ``radius`` (batch,), in pixels. It names
    model, norm, classes and sha256 of the weights: in ``metadata_props`` of ONNX, ``metadata.json`` of ``torch.export``. Before
    it appears under its name it is loaded by its runtime and compared with :func:`~sll_zoo.certify`.

    Args:
        model: A network of the zoo with logits; it is not changed.
        path: The file to write; an existing one is replaced whole.
        dtype: Dtype of images, weights, logits and radius; torch.float32 or torch.float64.
        name: Name of the model in the metadata; by default ``architecture.tag``.
        sound: Whether radii account for rounding, as ``certify(model, images, sound=True)`` does. The file holds what
            :func:`~sll_zoo.freeze` makes, in float64, and has a third output, ``slack`` (batch,): what was subtracted.

    Guarantee: that of ``certify`` in exact arithmetic. In float64 the radii are those of ``certify`` but for rounding. In float32
        logits differ from the exact ones by about 1e-6 of their size, which the radii do not account for. With ``sound``, that
        of a frozen network, for every runtime that computes sums of products in float64, in any order, and nothing else.

    Raises:
        ExportError: Another suffix, missing packages, a place that cannot be written to, or a file that does not agree with
            PyTorch; nothing is left.
        ConfigError: Another dtype, a network without logits, or one that ``certify`` refuses; with ``sound``, float32, or a
            layer whose rounding is not bounded.
        WeightsError: NaN or infinity in the weights.
    """
    path = Path(path)
    written_as = require_writable(path)
    _check(model, dtype, sound)
    by_products = written_as.products and dtype == torch.float64
    certified: FrozenNetwork | LipschitzClassifier
    network: nn.Module
    if sound:
        certified = freeze(model, dtype).cpu()
        network = SoundlyDeployed(certified, in_plain_operations(certified.network, by_products))
    else:
        certified = cast("LipschitzClassifier", fold(model, torch.float64).cpu())
        network = Deployed(in_plain_operations(certified, by_products).to(dtype), certified.pairwise_lipschitz())
    program = capture(network.eval().requires_grad_(False), model.config.input_shape, dtype)
    with atomic_write(path) as temporary:
        written_as.write(program, temporary, _metadata(model, dtype, name, sound))
        run = written_as.read(temporary)
        error, radius_error = compare(run, certified, dtype)
        seconds = latency(run, torch.rand(1, *model.config.input_shape, dtype=dtype))
        size = temporary.stat().st_size
    return Exported(
        path=path,
        size=size,
        dtype=dtype,
        input_shape=model.config.input_shape,
        num_classes=model.num_classes,
        runtime=f"{written_as.runtime} {version(written_as.runtime)}",
        error=error,
        radius_error=radius_error,
        sound=sound,
        latency=seconds,
        runs=TIMED_RUNS,
        threads=torch.get_num_threads(),
    )


def _check(model: LipschitzClassifier, dtype: torch.dtype, sound: bool) -> None:
    if dtype not in TOLERANCE:
        raise ConfigError(f"exporting in {dtype}", "choose torch.float32 or torch.float64")
    if sound and dtype != torch.float64:
        raise ConfigError(f"a sound export in {dtype}, whose rounding takes most of a radius", "export in torch.float64")
    if not model.num_classes:
        raise ConfigError("num_classes=0: a network without logits has no certificate", "call reset_classifier(num_classes)")
    model.require_structure()
    require_finite("the network", model.state_dict())


def _metadata(model: LipschitzClassifier, dtype: torch.dtype, name: str | None, sound: bool) -> dict[str, str]:
    described: dict[str, Any] = getattr(model, "pretrained_cfg", {})  # set by timm's factory
    full_name = ".".join(described[key] for key in ("architecture", "tag") if described.get(key))
    classes = label_names(model) or tuple(map(str, range(model.num_classes)))
    shape = ", ".join(map(str, model.config.input_shape))
    return {
        "model": name or full_name,
        "family": model.config.family,
        "classes": json.dumps(classes, ensure_ascii=False),
        "weights_sha256": weights_sha256(model),
        "images": f"(batch, {shape}), {str(dtype).removeprefix('torch.')} in [0, 1], never normalised",
        "logits": f"(batch, {model.num_classes})",
        "norm": norm_label(model.norm),
        "radius": (SOUND if sound else RADIUS).format(norm=norm_label(model.norm)) + (ROUNDED if dtype == torch.float32 else ""),
        "sll_zoo": versions_of(["sll_zoo"])["sll_zoo"],
    }
