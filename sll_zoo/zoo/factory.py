"""``create_model`` and ``list_models``: timm's, for this zoo's names, with errors that name the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import timm

from sll_zoo.errors import UnknownNameError
from sll_zoo.models import LipschitzClassifier
from sll_zoo.zoo import hub
from sll_zoo.zoo.entries import ARCHITECTURES, TAGS, refuse_features_only, what_there_is
from sll_zoo.zoo.weights import CONFIG_FILE, WEIGHTS_FILE, read_config


def create_model(name: str, pretrained: bool = False, **kwargs: Any) -> LipschitzClassifier:
    """Return a network of the zoo; ``timm.create_model`` does the same once ``sll_zoo`` is imported.

    Args:
        name: ``architecture`` or ``architecture.tag`` of :func:`list_models`, ``hf-hub:org/name[@revision]``, ``local-dir:path``.
        pretrained: Whether to load weights: from ``checkpoints/`` of the checkout, the Hub's cache, or the Hub, in this order.
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
    if source not in ("hf-hub", "local-dir"):
        _require_known(name)
        return cast("LipschitzClassifier", timm.create_model(name, pretrained=pretrained, **kwargs))
    folder = Path(place) if source == "local-dir" else _download(place, pretrained, kwargs.get("cache_dir"))
    architecture = read_config(folder / CONFIG_FILE)["architecture"]
    if architecture not in ARCHITECTURES:
        raise UnknownNameError(f"{folder / CONFIG_FILE} is of architecture {architecture!r}", what_there_is(architecture))
    return cast("LipschitzClassifier", timm.create_model(f"local-dir:{folder}", pretrained=pretrained, **kwargs))


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


def _download(model_id: str, pretrained: bool, cache_dir: str | Path | None) -> Path:
    """Return the folder in the Hub's cache with what is needed of a repository, so that timm need not go to the Hub once more."""
    if pretrained:
        hub.download(model_id, WEIGHTS_FILE, cache_dir)
    return hub.download(model_id, CONFIG_FILE, cache_dir).parent
