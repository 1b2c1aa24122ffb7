"""Fetching weights before they are needed: into the Hub's cache, or into a folder to carry elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from sll_zoo.errors import WeightsError
from sll_zoo.files import written_whole
from sll_zoo.zoo import hub
from sll_zoo.zoo.card import CURVE_FILE, TRAINING_FILE
from sll_zoo.zoo.entries import HUB_ORGANISATION, REVISION, full_name
from sll_zoo.zoo.export import FILES
from sll_zoo.zoo.factory import create_model
from sll_zoo.zoo.reading import CONFIG_FILE, WEIGHTS_FILE
from sll_zoo.zoo.weights import CHECKPOINTS


def pull(name: str, to: Path | None = None) -> Path:
    """Fetch a model's weights, with every check of ``create_model``, and return where they are.

    Args:
        name: As for :func:`~sll_zoo.create_model`.
        to: A folder to copy them to, with configuration, card and picture; ``create_model("local-dir:FOLDER", pretrained=True)``
            loads it anywhere, without a network. By default they stay in ``checkpoints/`` or in the Hub's cache.

    Raises:
        UnknownNameError: No such model.
        WeightsError: Weights that do not exist, cannot be had, or are refused; nothing is copied.
    """
    create_model(name, pretrained=True)
    place = locate(name)
    if isinstance(place, Path):
        found = {path.name: path for path in place.iterdir() if path.name in FILES}
    else:
        needed = FILES if to else (WEIGHTS_FILE,)
        found = {filename: path for filename in needed if (path := _download(place, filename))}
    if not to:
        return found[WEIGHTS_FILE].parent
    if to.exists() and not to.is_dir():
        raise WeightsError(f"{to} is a file", "name a folder")
    for filename in {CURVE_FILE, TRAINING_FILE} - found.keys():  # of another model
        (to / filename).unlink(missing_ok=True)
    # The configuration, without which nothing loads, comes last.
    for filename in sorted(found, key=lambda name: name == CONFIG_FILE):
        with written_whole(to / filename) as temporary:
            shutil.copyfile(found[filename], temporary)
    return to


def locate(name: str) -> Path | hub.Repository:
    """Return the folder or repository that a model's weights come from; nothing is asked of the network."""
    kind, _, place = name.partition(":")
    if kind == "local-dir":
        return Path(place)
    if kind == "hf-hub":
        return hub.Repository(place)
    local = CHECKPOINTS / full_name(name)
    return local if (local / WEIGHTS_FILE).exists() else hub.Repository(f"{HUB_ORGANISATION}/{full_name(name)}@{REVISION}")


def _download(repository: hub.Repository, filename: str) -> Path | None:
    """Return a file of a repository, None if it is one that a repository can do without."""
    try:
        return repository.download(filename)
    except WeightsError as error:
        absent = isinstance(error.__cause__, EntryNotFoundError) and not isinstance(error.__cause__, LocalEntryNotFoundError)
        if not absent or filename in (CONFIG_FILE, WEIGHTS_FILE):
            raise
        return None
