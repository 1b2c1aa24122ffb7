"""Names of a network's classes."""

from __future__ import annotations

from torch import nn


def label_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of a network's classes, in the order of the logits, as they came with its weights; empty without names.

    They are timm's ``model.pretrained_cfg["label_names"]``, which comes with a named model, or from the ``config.json`` of a
    repository or folder.

    Example:
        >>> from sll_zoo import create_model
        >>> label_names(create_model("sll_nano.digits", pretrained=True))[:3], label_names(create_model("sll_nano.digits"))
        (('0', '1', '2'), ())
    """
    described = getattr(model, "pretrained_cfg", None) or {}
    names = described.get("label_names")
    # config.json of a repository may hold anything: its length and types are checked.
    if not isinstance(names, list | tuple) or len(names) != getattr(model, "num_classes", 0):
        return ()
    return tuple(names) if all(isinstance(name, str) for name in names) else ()
