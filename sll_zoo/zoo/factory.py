"""``create_model`` and ``list_models``: timm's, for this zoo's names, with errors that name the remedy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import timm

from sll_zoo.errors import UnknownNameError, WeightsError
from sll_zoo.models import LipschitzClassifier
from sll_zoo.zoo.entries import ARCHITECTURES, TAGS, folder_cfg, recipe, refuse_features_only, trained_cfg, what_there_is
from sll_zoo.zoo.folder import ModelFolder
from sll_zoo.zoo.weights import hub
from sll_zoo.zoo.weights.loading import FoundCfg
from sll_zoo.zoo.weights.reading import CONFIG_FILE, SAVE_AGAIN, TRAINED, read_checkpoint

# Limit of the first layer's output for one image, taken without patches, in numbers: half a gigabyte in float32.
LARGEST_IMAGE = 2**27


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
        WeightsError: Weights that do not exist, cannot be downloaded, are damaged, or belong to another model.
        ConfigError: A shape that no network can have.

    Example:
        >>> model = create_model("sll_nano.digits")
        >>> model.config.input_shape
        (1, 8, 8)
    """
    refuse_features_only(kwargs)
    source, _, place = name.partition(":") if isinstance(name, str) else ("", "", "")
    if source == "local-dir":
        return load(ModelFolder.read(Path(place)), pretrained, **kwargs)
    if source == "ckpt":
        return _from_checkpoint(Path(place), pretrained, kwargs)
    if source == "hf-hub":
        return load(ModelFolder.at(hub.Repository(place, kwargs.pop("cache_dir", None))), pretrained, **kwargs)
    _require_known(name)
    return cast("LipschitzClassifier", timm.create_model(name, pretrained=pretrained, **kwargs))


def load(folder: ModelFolder, pretrained: bool = True, **kwargs: Any) -> LipschitzClassifier:
    """Return the network of a folder; files of a repository that are refused are removed from the Hub's cache.

    Args:
        folder: The folder, as :meth:`ModelFolder.at` or :meth:`ModelFolder.read` returns it.
        pretrained: As for :func:`create_model`.
        **kwargs: As for :func:`create_model`.

    Raises:
        UnknownNameError, WeightsError, ConfigError: As for :func:`create_model`.
    """
    architecture, arguments = folder.config["architecture"], folder.config.get("model_args", {})
    path = folder.path / CONFIG_FILE
    weights = folder.weights if pretrained else ()
    # The files stay in the cache if the caller gave arguments, since these may be the reason for a refusal.
    with hub.kept_unless_refused([path, *weights] if folder.repository and not kwargs else []):
        if architecture not in ARCHITECTURES:
            raise UnknownNameError(f"{path} is of architecture {architecture!r}", what_there_is(architecture))
        _require_own(path, architecture, arguments, SAVE_AGAIN)
        return _built(folder.path, folder_cfg(folder, pretrained), arguments, pretrained, kwargs)


def _from_checkpoint(path: Path, pretrained: bool, kwargs: dict[str, Any]) -> LipschitzClassifier:
    """Return the network of a training, built as its checkpoint says."""
    named = read_checkpoint(path, map_location="meta")["hyper_parameters"]
    name, args = named["name"], named.get("model_args") or {}
    if ":" in name:  # an older checkpoint, which names the folder that its training started from
        name, args = cast("tuple[str, dict[str, Any]]", recipe(create_model(name, **args)))
    _require_known(name)
    architecture = name.partition(".")[0]
    _require_own(path, architecture, args, TRAINED)
    return _built(path, trained_cfg(name, args, path), args, pretrained, kwargs)


def _require_own(path: Path, architecture: str, args: dict[str, Any], remedy: str) -> None:
    """Raise WeightsError for an argument that the architecture does not have: timm would use some of these itself."""
    if foreign := args.keys() - vars(ARCHITECTURES[architecture]).keys():
        raise WeightsError(f"{path} gives {architecture} an argument {min(foreign)}", remedy)


def _built(source: Path, cfg: FoundCfg, args: dict[str, Any], pretrained: bool, kwargs: dict[str, Any]) -> LipschitzClassifier:
    """Return the network of a description that may be a stranger's; raise WeightsError if its images would fill the memory."""
    asked = {key: value for key, value in kwargs.items() if value is not None}  # None means the default, as in timm
    model = cast("LipschitzClassifier", timm.create_model(str(cfg.architecture), pretrained, cfg, **args | asked))
    if model.config.width * math.prod(model.config.img_size) > LARGEST_IMAGE:
        raise WeightsError(f"{source} is of a network for images of {model.config.input_shape}", "they would fill the memory")
    return model


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
