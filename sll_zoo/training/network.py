"""The network of a task, made by its name or given, and the hyperparameters that its checkpoints keep."""

from __future__ import annotations

import re
from typing import Any

from sll_zoo.errors import ConfigError
from sll_zoo.models import LipschitzClassifier
from sll_zoo.zoo.entries import recipe
from sll_zoo.zoo.factory import create_model
from sll_zoo.zoo.weights.reading import GIVE_NETWORK


def made_or_given(name: Any, pretrained: bool, model_args: dict[str, Any] | None) -> LipschitzClassifier:
    """Return the network that is to be trained.

    Args:
        name: A name for :func:`~sll_zoo.create_model`, or a network; None in checkpoints of a network without a name.
        pretrained: As for ``create_model``.
        model_args: Further arguments of ``create_model``.

    Raises:
        ConfigError: A network together with ``pretrained`` or ``model_args``, another module, or None.
    """
    if isinstance(name, str):
        return create_model(name, pretrained=pretrained, **(model_args or {}))
    if name is None:  # from the hyperparameters of a checkpoint
        raise ConfigError("a checkpoint of a network that create_model did not build", GIVE_NETWORK)
    if not isinstance(name, LipschitzClassifier):
        raise ConfigError(f"a {type(name).__name__} to train", "give a name of create_model, or a LipschitzClassifier")
    if pretrained or model_args is not None:
        given = "pretrained=True" if pretrained else f"model_args={model_args}"
        raise ConfigError(f"{given} together with a network", "leave it out, or say None: the network has its weights and shape")
    return name


def kept_of(name: str | LipschitzClassifier, model_args: dict[str, Any] | None, model: LipschitzClassifier) -> dict[str, Any]:
    """Return the name and the arguments that build the network again, without the folder that it was loaded from.

    Both are None for a network that ``create_model`` did not build.
    """
    named = isinstance(name, str) and ":" not in name
    kept, arguments = (name, model_args) if named else recipe(model) or (None, None)
    return {"name": kept, "model_args": arguments}


def without_path(name: str) -> str:
    """Return a model's name; for a folder or a checkpoint, without the path to it.

    Example:
        >>> without_path("ckpt:/home/me/outputs/last.ckpt")
        'ckpt:last.ckpt'
    """
    return re.sub("^(local-dir|ckpt):.*/", r"\1:", name)
