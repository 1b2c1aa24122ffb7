"""What the classes of a network are called."""

from __future__ import annotations

from torch import nn


def label_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of a network's classes in their order, as its weights came with them; nothing where nobody said.

    They are timm's ``model.pretrained_cfg["label_names"]``: of a named model, of the ``config.json`` of a repository or folder.

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
