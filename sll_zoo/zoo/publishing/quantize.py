"""Saving a model's weights with fewer bits: measured before and after, audited, and written to a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from sll_zoo.certificates.evaluation import Evaluation, evaluate
from sll_zoo.data import open_data
from sll_zoo.errors import ConfigError
from sll_zoo.files import obstacle
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.labels import label_names
from sll_zoo.zoo.folder import ModelFolder, require_not_shipped
from sll_zoo.zoo.publishing.publish import Progress, check_publishable
from sll_zoo.zoo.publishing.pull import fetch
from sll_zoo.zoo.publishing.recording import measurement_on
from sll_zoo.zoo.publishing.save import save_again
from sll_zoo.zoo.records.record import Measurement, Record
from sll_zoo.zoo.weights.packing import quantize, require_bits


@dataclass(frozen=True)
class Quantized:
    """The cost of fewer bits.

    Attributes:
        before: Evaluation of the network as it was.
        after: Evaluation of the network with rounded weights, on the same images.
        size_before: Size of its files of weights as they were, in bytes.
        record: Record of the weights that were written.
    """

    before: Evaluation
    after: Evaluation
    size_before: int
    record: Record


def quantize_weights(
    source: str, folder: Path, data: str, bits: int = 8, device: str = "cpu", progress: Progress = iter
) -> Quantized:
    """Write a model's weights with ``bits`` bits each, and measure before and after, in float64.

    The new record keeps the training. It leaves out earlier attacks, which were made on other weights.

    Args:
        source: As for :func:`~sll_zoo.create_model`.
        folder: The folder to write; it is made.
        data: Held-out images, a data set's name or a folder.
        bits: As for :func:`~sll_zoo.quantize`.
        device: Where the network is evaluated.
        progress: Wraps the list of layers that are audited, such as ``rich.progress.track``.

    Raises:
        ConfigError: Another number of bits, a file in the folder's place, or a folder of a checkout's shipped weights.
        UnknownNameError, InputError: No such model or data.
        WeightsError: Weights that do not exist, cannot be downloaded, or are refused.
        PublishError: The audit finds a layer that breaks its claim; nothing is written.
    """
    require_bits(bits)
    require_not_shipped(folder)
    if problem := obstacle(folder):
        raise ConfigError(problem, "name a folder for the weights")
    with TemporaryDirectory(prefix="sll-zoo-") as staged:
        return _quantize(*fetch(source, Path(staged)), folder, data, bits, device, progress)


def _quantize(
    staged: ModelFolder, model: LipschitzClassifier, folder: Path, data: str, bits: int, device: str, progress: Progress
) -> Quantized:
    """Quantise and measure the network of a staged copy, overwrite the copy, check it, and copy it to the folder."""
    known, size = staged.record, sum(path.stat().st_size for path in staged.weights)
    held_out = open_data(data, model.config.input_shape, model.num_classes, label_names(model))
    quantized = quantize(model, bits)
    before, after = (evaluate(one.to(device), held_out.batches()) for one in (model, quantized))
    saved, fresh = save_again(
        staged,
        quantized.cpu(),
        label_names=held_out.class_names,
        measured=_with_baseline(measurement_on(held_out, after), known),
        curves={f"{bits} bits a weight": after, "before": before},
        bits=bits,
    )
    check_publishable(fresh, saved.known(), progress)
    return Quantized(before, after, size, saved.copy(folder).known())


def _with_baseline(measured: Measurement, known: Record | None) -> Measurement:
    """Return a measurement with the baseline of an earlier one on the same images: a baseline does not depend on weights."""
    earlier = known.measured if known else None
    if earlier and earlier.fingerprint == measured.fingerprint:
        return replace(measured, baseline=earlier.baseline)
    return measured
