"""A folder with weights: its card and config.json, and for the folders that a checkout keeps the record and the tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sll_zoo.errors import ConfigError
from sll_zoo.files import atomic_write, write_json
from sll_zoo.zoo.records.card import CARD_FILE, refresh_tables, render_card
from sll_zoo.zoo.records.record import Record, to_dict, write_record
from sll_zoo.zoo.weights.loading import CHECKPOINTS
from sll_zoo.zoo.weights.reading import CONFIG_FILE


def describe_folder(folder: Path, record: Record, config: dict[str, Any]) -> None:
    """Write card and config.json of a folder with weights, and for weights that the zoo ships its record and tables.

    Args:
        folder: That the weights are in.
        record: Of them.
        config: The content of config.json but for the record.
    """
    shipped = is_shipped(folder, record.name)
    write_card(folder, record, config, record.name if shipped else "local-dir:.")
    if shipped:
        write_record(record)
        refresh_tables(CHECKPOINTS.parent)
    with atomic_write(folder / CONFIG_FILE) as temporary:  # last: without it, nothing else is looked at
        write_json(temporary, config | {"certified": to_dict(record)})


def is_shipped(folder: Path, name: str) -> bool:
    """Return whether a folder is the one that a checkout keeps for these weights."""
    return folder.resolve() == (CHECKPOINTS / name).resolve()


def require_not_shipped(folder: Path) -> None:
    """Raise ConfigError for a folder that a checkout keeps for the weights that it ships: nothing is exported there."""
    if folder.resolve().parent == CHECKPOINTS.resolve():
        raise ConfigError(
            f"{folder} is kept for weights that are shipped",
            f"export to outputs/{folder.name}, and `sll-zoo ship outputs/{folder.name}` checks that and puts it there",
        )


def write_card(folder: Path, record: Record, config: dict[str, Any], load_name: str) -> None:
    """Write a folder's README.md, for weights that ``create_model`` loads by ``load_name``."""
    files = [path.name for path in folder.iterdir()]
    with atomic_write(folder / CARD_FILE) as temporary:
        temporary.write_text(render_card(record, config, load_name, files), "utf-8")
