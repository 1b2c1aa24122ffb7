"""Fetching weights before they are needed: into the Hub's cache, or into a folder to carry elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from sll_zoo.errors import WeightsError
from sll_zoo.files import atomic_write, obstacle
from sll_zoo.models import LipschitzClassifier
from sll_zoo.zoo.entries import HUB_ORGANISATION, REVISION, full_name
from sll_zoo.zoo.factory import create_model
from sll_zoo.zoo.records.card import CARD_FILE, CURVE_FILE, TRAINING_FILE
from sll_zoo.zoo.records.record import Record, read_records
from sll_zoo.zoo.weights import hub
from sll_zoo.zoo.weights.loading import shipped_files
from sll_zoo.zoo.weights.reading import CONFIG_FILE, read_config, require_file, stated_record
from sll_zoo.zoo.weights.shards import INDEX_FILE, remove_others, weights_files

# What a repository can do without.
OPTIONAL = (CARD_FILE, CURVE_FILE, TRAINING_FILE)


def pull(name: str, to: Path | None = None) -> Path:
    """Fetch a model's weights, with every check of ``create_model``, and return where they are.

    Args:
        name: As for :func:`~sll_zoo.create_model`.
        to: A folder to copy them to, with configuration, card and picture; ``create_model("local-dir:FOLDER", pretrained=True)``
            loads it anywhere, without a network. By default they stay in ``checkpoints/``, in the installed package, or in the
            Hub's cache. A checkpoint is exported to it.

    Raises:
        UnknownNameError: No such model.
        WeightsError: Weights that do not exist, cannot be had, or are refused; nothing is copied.
    """
    model = create_model(name, pretrained=True)
    if name.startswith("ckpt:"):
        return _export(model, to) if to else Path(name.removeprefix("ckpt:")).parent
    place = locate(name)
    weights = weights_files(_record(name, place))
    index = [INDEX_FILE] if len(weights) > 1 else []
    needed = [*weights, *index, CONFIG_FILE, *OPTIONAL] if to else weights
    copies = {filename: _copy(place, filename) for filename in needed}
    found = {filename: path for filename, path in copies.items() if path}
    if not to:
        return found[weights[0]].parent
    _require_folder(to)
    # The configuration, without which nothing loads, comes last.
    for filename in sorted(found, key=lambda name: name == CONFIG_FILE):
        with atomic_write(to / filename) as temporary:
            shutil.copyfile(found[filename], temporary)
    remove_others(to, found)
    for filename in {CURVE_FILE, TRAINING_FILE} - found.keys():  # of another model
        (to / filename).unlink(missing_ok=True)
    return to


def locate(name: str) -> Path | hub.Repository:
    """Return the folder or repository that a model's weights come from; nothing is asked of the network.

    Raises:
        WeightsError: They come from a checkpoint, and are in neither.
    """
    kind, _, place = name.partition(":")
    if kind == "ckpt":
        raise WeightsError(f"{place} is a checkpoint, not a folder with a record", f"export it: `sll-zoo pull {name} --to DIR`")
    if kind == "local-dir":
        return Path(place)
    if kind == "hf-hub":
        return hub.Repository(place)
    record = read_records().get(full_name(name))
    if record and (shipped := shipped_files(record)):
        return shipped[0].parent
    return hub.Repository(f"{HUB_ORGANISATION}/{full_name(name)}@{REVISION}")


def _export(model: LipschitzClassifier, to: Path) -> Path:
    """Write a network of a checkpoint as the Hub holds it, which nobody has measured, nor said what its classes are."""
    from sll_zoo.zoo.publishing.save import export_model  # which draws pictures, and needs what draws them

    _require_folder(to)
    export_model(model.eval(), to, label_names=[str(label) for label in range(model.num_classes)])
    for filename in (CURVE_FILE, TRAINING_FILE):  # of another model
        (to / filename).unlink(missing_ok=True)
    return to


def _require_folder(to: Path) -> None:
    if problem := obstacle(to):
        raise WeightsError(problem, "name a folder")


def _record(name: str, place: Path | hub.Repository) -> Record | None:
    """Return what is known of a model's weights."""
    if ":" not in name:
        return read_records().get(full_name(name))
    return stated_record(read_config(place / CONFIG_FILE if isinstance(place, Path) else place.download(CONFIG_FILE)))


def _copy(place: Path | hub.Repository, filename: str) -> Path | None:
    """Return a file of a folder or a repository, None if it is one that they do without."""
    if isinstance(place, Path):
        path = place / filename
        return require_file(path) if filename not in OPTIONAL or path.exists() else None
    try:
        return place.download(filename)
    except WeightsError as error:
        absent = isinstance(error.__cause__, EntryNotFoundError) and not isinstance(error.__cause__, LocalEntryNotFoundError)
        if not absent or filename not in OPTIONAL:
            raise
        return None
