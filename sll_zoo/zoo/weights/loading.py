"""Finding and loading a model's weights: safetensors with the recorded hash, if there is one, or a checkpoint of a training.

Names and shapes of the tensors must be those of the network.
"""

from __future__ import annotations

import math
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.models import PretrainedCfg
from torch import Tensor

from sll_zoo.errors import UntrainedHeadWarning, WeightsError
from sll_zoo.models import LipschitzClassifier, NetworkConfig, build
from sll_zoo.zoo.folder import ModelFolder, shipped_files
from sll_zoo.zoo.records.record import Record
from sll_zoo.zoo.weights import hub
from sll_zoo.zoo.weights.packing import fault, unpack
from sll_zoo.zoo.weights.reading import read_bits, read_trained, read_weights, require_file
from sll_zoo.zoo.weights.shards import weights_files

RESIZE = "build the model that the weights were made for, with its own sizes"


@dataclass(frozen=True)
class WeightsSource:
    """Where a model's weights are: files, or else a repository on the Hub; and their record, where there is one.

    ``trained`` is True for a checkpoint of a training.
    """

    paths: tuple[Path, ...] = ()
    hub_id: str | None = None
    record: Record | None = None
    trained: bool = False


@dataclass
class FoundCfg(PretrainedCfg):
    """timm's description of weights that are already found; timm's factory passes it on unchanged."""

    found: WeightsSource | None = None


def find_weights(cfg: PretrainedCfg, record: Record | None) -> WeightsSource | None:
    """Return where the weights that ``cfg`` names are, without using the network; None if there are none.

    Args:
        cfg: timm's description of the weights.
        record: Record of the weights that the zoo ships under this name; None if there is none, or if others were asked for.

    Raises:
        WeightsError: The folder or file that was named does not exist.
    """
    if isinstance(cfg, FoundCfg):
        return cfg.found
    if cfg.source == "local-dir":  # a name local-dir:PATH that was given to timm.create_model
        folder = ModelFolder.read(Path(str(cfg.file)))
        return WeightsSource(folder.weights, record=folder.record)
    if cfg.source == "hf-hub":  # tested before ``file``, which a stranger's config.json could set
        return WeightsSource(hub_id=cfg.hf_hub_id)
    if cfg.file:
        return WeightsSource((require_file(Path(cfg.file)),))
    if record:
        return WeightsSource(shipped_files(record), cfg.hf_hub_id, record)
    return WeightsSource(hub_id=cfg.hf_hub_id) if cfg.hf_hub_id else None


def fetch_weights(
    config: NetworkConfig, source: WeightsSource, num_classes: int, cache_dir: str | Path | None = None
) -> tuple[Path, dict[str, Tensor]]:
    """Return the first file and all tensors, unpacked; their shapes are checked before the network is allocated.

    Args:
        config: Configuration of the network. If it has another number of classes than the weights, the head is left out.
        source: Where the weights are, from :func:`find_weights`.
        num_classes: Number of classes that the weights were trained for.
        cache_dir: A folder to use instead of the Hub's own cache.

    Raises:
        WeightsError: A file that is neither safetensors nor a checkpoint, is not the recorded one, is of another network, or
            holds NaN or infinity.
    """
    path, state = _fetch(source, cache_dir)
    expected = _skeleton(config, path, len(state))
    if config.num_classes != num_classes:
        state, expected = ({k: v for k, v in side.items() if not k.startswith("head.")} for side in (state, expected))
    bits = 32 if source.trained else read_bits(path, source.record)
    if why := fault(state, expected, bits):
        raise WeightsError(f"{path} does not fit the model: {why}", RESIZE)
    state = unpack(state, expected, bits)
    require_same_tensors(path, state, expected)
    return path, state


def _skeleton(config: NetworkConfig, path: Path, tensors: int) -> dict[str, Tensor]:
    """Return a network's tensors on the meta device: they take no memory, whatever sizes a stranger's config.json states."""
    if config.depth > tensors:
        raise WeightsError(f"{path} does not fit the model: it has {tensors} tensors for {config.depth} layers", RESIZE)
    try:
        with torch.device("meta"):
            return build(config).state_dict()
    except (RuntimeError, TypeError) as error:  # a size that overflows
        raise WeightsError(f"{path} does not fit the model: no machine could hold {config}", RESIZE) from error


def load_pretrained(config: NetworkConfig, path: Path, state: dict[str, Tensor], num_classes: int) -> LipschitzClassifier:
    """Return a network with all tensors that :func:`fetch_weights` returned, in torch's default dtype and device.

    Args:
        config: Configuration of the network. If it has another number of classes than the weights, the head is untrained, with
            a warning.
        path: The first file of the weights.
        state: Their tensors.
        num_classes: Number of classes that the weights were trained for.

    Raises:
        WeightsError: The weights are of a network that subtracts another mean.
    """
    mean = tuple(state["center.mean"].flatten().tolist())
    # The tolerance is for trainings in bfloat16, which round the mean to 8 bits.
    if not all(math.isclose(found, told, abs_tol=2**-8) for found, told in zip(mean, config.channel_means, strict=True)):
        raise WeightsError(
            f"{path} is of a network that subtracts the mean {mean}, not {config.channel_means}", "leave mean= out"
        )
    with torch.device("meta"):  # random weights would take time and memory
        model = build(config)
    dtype, device, same_head = torch.get_default_dtype(), torch.get_default_device(), config.num_classes == num_classes
    model.load_state_dict({key: value.to(device, dtype) for key, value in state.items()}, strict=same_head, assign=True)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta and not buffer.numel():  # it only tells the device (PatchDCT)
                setattr(module, name, torch.empty(0, dtype=dtype, device=device))
    if not same_head:
        model.reset_classifier(config.num_classes)
    if model.num_classes not in (num_classes, 0):
        warnings.warn(
            f"the head of {model.num_classes} classes is untrained (the weights have {num_classes}): train it before you certify",
            UntrainedHeadWarning,
            stacklevel=2,
        )
    return model


def _fetch(source: WeightsSource, cache_dir: str | Path | None) -> tuple[Path, dict[str, Tensor]]:
    """Return the first file and the tensors of all files; files from the Hub that are refused leave the cache."""
    if source.trained:
        return source.paths[0], read_trained(source.paths[0])
    if source.paths:
        return source.paths[0], read_weights(source.paths, source.record)
    assert source.hub_id  # noqa: S101 - a source has paths or a hub_id
    repository, record = hub.Repository(source.hub_id, cache_dir), source.record
    if record:
        # Cached files with a record are read without asking the Hub: their hash says whether they are the right ones.
        known = [path for name in weights_files(record) if (path := repository.cached(name))]
        if len(known) == record.files:
            with suppress(WeightsError), hub.kept_unless_refused(known):
                return known[0], read_weights(known, record)
        paths = tuple(repository.download(name, record.size) for name in weights_files(record))
    else:
        folder = ModelFolder.at(repository)
        paths, record = folder.weights, folder.record
    with hub.kept_unless_refused(paths):
        return paths[0], read_weights(paths, record)


def require_same_tensors(path: Path, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Raise WeightsError unless a file's tensors have the names and shapes that a network expects."""
    shapes = {key: tuple(value.shape) if value.is_floating_point() else value.dtype for key, value in found.items()}
    wanted = {key: tuple(value.shape) for key, value in expected.items()}
    different = sorted(key for key in shapes.keys() | wanted.keys() if shapes.get(key) != wanted.get(key))
    if different:
        key = different[0]
        sizes = [side.get(key, "absent") for side in (shapes, wanted)]
        raise WeightsError(
            f"{path} does not fit the model ({len(different)} tensors): {key} is {sizes[0]} in it and {sizes[1]} in the model",
            RESIZE,
        )
