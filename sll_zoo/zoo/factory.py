"""``create_model`` and ``list_models``: timm's, for this zoo's names, with errors that name the remedy."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, cast

import timm

from sll_zoo.errors import UnknownNameError, WeightsError
from sll_zoo.models import LipNet
from sll_zoo.zoo import hub
from sll_zoo.zoo.entries import ARCHITECTURES, TAGS
from sll_zoo.zoo.record import read_records
from sll_zoo.zoo.weights import CONFIG_FILE


def create_model(name: str, pretrained: bool = False, **kwargs: Any) -> LipNet:
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
    if name.startswith(("hf-hub:", "local-dir:")):
        _require_ours(name, kwargs.get("cache_dir"))
    else:
        _require_known(name)
    return cast("LipNet", timm.create_model(name, pretrained=pretrained, **kwargs))


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
    architecture, _, tag = name.partition(".")
    if architecture in ARCHITECTURES and (not tag or tag in TAGS[architecture]):
        return
    known = [*ARCHITECTURES, *(f"{key}.{tag}" for key, tags in TAGS.items() for tag in tags)]
    nearest = difflib.get_close_matches(name, known, n=3) or list(ARCHITECTURES)
    raise UnknownNameError(
        f"no model {name!r}; nearest: {', '.join(nearest)}; with weights: {', '.join(read_records())}",
        "choose one, or train your own with sll_zoo.CertifiedClassifier and a Lightning Trainer",
    )


def _require_ours(name: str, cache_dir: str | Path | None) -> None:
    """Read config.json of a Hub repository or a folder before timm does, whose errors would be about other things."""
    source, _, place = name.partition(":")
    config = Path(place) / CONFIG_FILE if source == "local-dir" else hub.download(place, CONFIG_FILE, cache_dir)
    if not config.is_file():
        raise WeightsError(f"{config} does not exist", f"give a folder with {CONFIG_FILE} and model.safetensors")
    try:
        architecture = json.loads(config.read_text("utf-8"))["architecture"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{config} is no model's config.json ({error!r})", "give a folder that sll_zoo exported") from error
    if architecture not in ARCHITECTURES:
        raise UnknownNameError(f"{config} is of architecture {architecture!r}", f"this zoo has {', '.join(ARCHITECTURES)}")
