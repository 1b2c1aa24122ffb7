"""``create_model`` and ``list_models``: timm's, for this zoo's names, with errors that name the remedy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import timm
from torch import nn

from sll_zoo.errors import SllZooError, UnknownNameError, WeightsError
from sll_zoo.models import LipschitzClassifier, build
from sll_zoo.models.structure import faults
from sll_zoo.zoo.entries import ARCHITECTURES, TAGS, recipe, refuse_features_only, trained_cfg, what_there_is
from sll_zoo.zoo.weights import hub
from sll_zoo.zoo.weights.reading import CONFIG_FILE, SAVE_AGAIN, TRAINED, read_checkpoint, read_config, stated_record
from sll_zoo.zoo.weights.shards import weights_files

# Numbers in the first layer's output for one image, if it took no patches: half a gigabyte in float32.
LARGEST_IMAGE = 2**27
LARGEST_CONFIG = 10_000_000  # bytes


def create_model(name: str, pretrained: bool = False, **kwargs: Any) -> LipschitzClassifier:
    """Return a network of the zoo; ``timm.create_model`` does the same once ``sll_zoo`` is imported.

    Args:
        name: ``architecture`` or ``architecture.tag`` of :func:`list_models`, ``hf-hub:org/name[@revision]``, ``local-dir:path``,
            or ``ckpt:path`` for the network of a checkpoint that a training of a ``CertifiedClassifier`` wrote, ended or not.
        pretrained: Whether to load weights: from ``checkpoints/`` of the checkout, the installed package, the Hub's cache, or the
            Hub, in this order. Of a checkpoint they are those that validation measures: the averages where the training averages
            its weights.
        **kwargs: ``num_classes``, ``in_chans``, ``img_size`` and the other fields of :class:`~sll_zoo.models.LipNetConfig`.
            ``num_classes=0`` gives features; another number than the weights' gives an untrained head and a warning.

    Raises:
        UnknownNameError: No such model or tag.
        WeightsError: Weights that do not exist, cannot be had, are damaged, or belong to another model.
        ConfigError: A shape that no network can have.

    Example:
        >>> model = create_model("sll_nano.digits")
        >>> model.config.input_shape
        (1, 8, 8)
    """
    refuse_features_only(kwargs)
    source, _, place = name.partition(":") if isinstance(name, str) else ("", "", "")
    if source == "local-dir":
        return _from_folder(Path(place), pretrained, kwargs)
    if source == "ckpt":
        return _from_checkpoint(Path(place), pretrained, kwargs)
    if source == "hf-hub":
        return _from_hub(hub.Repository(place, kwargs.pop("cache_dir", None)), pretrained, kwargs)
    _require_known(name)
    return cast("LipschitzClassifier", timm.create_model(name, pretrained=pretrained, **kwargs))


def _from_folder(folder: Path, pretrained: bool, kwargs: dict[str, Any]) -> LipschitzClassifier:
    """Return a network of which nothing is known but its folder, when its structure has been checked."""
    config = read_config(folder / CONFIG_FILE)
    architecture = config["architecture"]
    if architecture not in ARCHITECTURES:
        raise UnknownNameError(f"{folder / CONFIG_FILE} is of architecture {architecture!r}", what_there_is(architecture))
    _require_own(folder / CONFIG_FILE, architecture, config.get("model_args", {}), SAVE_AGAIN)
    return _checked(folder, timm.create_model(f"local-dir:{folder}", pretrained=pretrained, **kwargs), pretrained)


def _from_checkpoint(path: Path, pretrained: bool, kwargs: dict[str, Any]) -> LipschitzClassifier:
    """Return the network of a training, of which its checkpoint says how it is built."""
    named = read_checkpoint(path, map_location="meta")["hyper_parameters"]
    name, args = named["name"], named.get("model_args") or {}
    if ":" in name:  # of a time when a checkpoint named the folder that its training began with
        name, args = cast("tuple[str, dict[str, Any]]", recipe(create_model(name, **args)))
    _require_known(name)
    architecture = name.partition(".")[0]
    _require_own(path, architecture, args, TRAINED)
    cfg = trained_cfg(name, args, path)
    return _checked(path, timm.create_model(architecture, pretrained, cfg, **args | kwargs), pretrained)


def _require_own(path: Path, architecture: str, args: dict[str, Any], remedy: str) -> None:
    """Raise WeightsError for an argument that is none of the architecture's: timm would take some for its own."""
    if foreign := args.keys() - vars(ARCHITECTURES[architecture]).keys():
        raise WeightsError(f"{path} gives {architecture} an argument {min(foreign)}", remedy)


def _checked(source: Path, made: nn.Module, pretrained: bool) -> LipschitzClassifier:
    """Return a network that others may have described, unless it would fill the memory or breaks its claim."""
    model = cast("LipschitzClassifier", made)
    if model.config.width * math.prod(model.config.img_size) > LARGEST_IMAGE:
        raise WeightsError(f"{source} is of a network for images of {model.config.input_shape}", "they would fill the memory")
    # Weights have no part in the structure.
    if pretrained and (fault := next(faults(build(model.config.thinnest()).eval()), None)):
        raise WeightsError(f"{source} is of a network that breaks its claim ({fault.error()})", "do not use it")
    return model


def _from_hub(repository: hub.Repository, pretrained: bool, kwargs: dict[str, Any]) -> LipschitzClassifier:
    """Return the network of a repository; what of it is refused does not stay in the cache."""
    config = repository.download(CONFIG_FILE, LARGEST_CONFIG)
    with _kept_unless_refused([config]):
        record = stated_record(read_config(config))
    # In the folder of the configuration, so that timm need not go to the Hub once more.
    names = weights_files(record) if pretrained else []
    weights = [repository.download(filename, record.size if record else None) for filename in names]
    with _kept_unless_refused([] if kwargs else [config, *weights]):  # else what was asked for may be what does not fit
        return _from_folder(config.parent, pretrained, kwargs)


@contextmanager
def _kept_unless_refused(files: list[Path]) -> Iterator[None]:
    """Take files of which something is refused out of the cache."""
    try:
        yield
    except SllZooError:
        for file in files:
            hub.discard(file)
        raise


def list_models(filter: str = "", pretrained: bool = False) -> list[str]:  # noqa: A002 - timm's name for it
    """Return the zoo's architectures, or, with ``pretrained``, each ``architecture.tag`` that has weights.

    Args:
        filter: A wildcard such as ``"sll_*"``; empty for all.
        pretrained: Only what ``create_model(name, pretrained=True)`` can load.

    Example:
        >>> "sll_small" in list_models("sll_*")
        True
    """
    names: list[str] = timm.list_models(filter, pretrained=pretrained)
    return [name for name in names if name.partition(".")[0] in ARCHITECTURES]


def _require_known(name: str) -> None:
    architecture, dot, tag = name.partition(".") if isinstance(name, str) else (name, "", "")
    if architecture not in ARCHITECTURES or (dot and tag not in TAGS[architecture]):
        raise UnknownNameError(f"no model {name!r}", what_there_is(str(name)))
