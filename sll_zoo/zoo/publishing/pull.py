"""Fetching weights before they are needed: into the Hub's cache, or into a folder to carry elsewhere."""

from __future__ import annotations

from pathlib import Path

from sll_zoo.errors import WeightsError
from sll_zoo.models import LipschitzClassifier
from sll_zoo.zoo.entries import HUB_ORGANISATION, REVISION, full_name
from sll_zoo.zoo.factory import create_model, load
from sll_zoo.zoo.folder import ModelFolder, require_writable, shipped_files
from sll_zoo.zoo.records.record import read_records
from sll_zoo.zoo.weights.hub import Repository
from sll_zoo.zoo.weights.reading import CONFIG_FILE
from sll_zoo.zoo.weights.shards import weights_files


def pull(name: str, to: Path | None = None) -> Path:
    """Fetch a model's weights, with every check of ``create_model``, and return where they are.

    Args:
        name: As for :func:`~sll_zoo.create_model`.
        to: A folder to copy them to, with configuration, card and picture; ``create_model("local-dir:FOLDER", pretrained=True)``
            loads it anywhere, without a network. By default they stay in ``checkpoints/``, in the installed package, or in the
            Hub's cache. The network of a checkpoint is saved to the folder.

    Raises:
        UnknownNameError: No such model.
        WeightsError: Weights that do not exist, cannot be downloaded, or are refused; nothing is copied.
    """
    if to:
        return fetch(name, to)[0].path
    create_model(name, pretrained=True)
    if name.startswith("ckpt:"):
        return Path(name.removeprefix("ckpt:")).parent
    place = locate(name)
    return place if isinstance(place, Path) else _cached(name, place)


def fetch(name: str, to: Path) -> tuple[ModelFolder, LipschitzClassifier]:
    """Copy a model's files to a folder as :func:`pull` does, and return the folder and the network, in eval mode."""
    if name.startswith("ckpt:"):
        return _saved(create_model(name, pretrained=True), to)
    if ":" in name:
        folder = ModelFolder.at(locate(name))
        model = load(folder)
    else:  # a name of the zoo, whose record has the hash of the weights
        model = create_model(name, pretrained=True)
        folder = ModelFolder.at(locate(name))
    return folder.copy(to), model.eval()


def locate(name: str) -> Path | Repository:
    """Return the folder or repository that a model's weights come from, without using the network.

    Raises:
        WeightsError: They come from a checkpoint, which is neither.
    """
    kind, _, place = name.partition(":")
    if kind == "ckpt":
        raise WeightsError(f"{place} is a checkpoint, not a folder with a record", f"save it: `sll-zoo pull {name} --to DIR`")
    if kind == "local-dir":
        return Path(place)
    if kind == "hf-hub":
        return Repository(place)
    record = read_records().get(full_name(name))
    if record and (shipped := shipped_files(record)):
        return shipped[0].parent
    return Repository(f"{HUB_ORGANISATION}/{full_name(name)}@{REVISION}")


def _cached(name: str, repository: Repository) -> Path:
    """Return the folder in the Hub's cache that a model was loaded from; for a name of the zoo it may lack config.json."""
    wanted = CONFIG_FILE if ":" in name else weights_files(read_records()[full_name(name)])[0]
    path = repository.cached(wanted)
    assert path  # noqa: S101 - it was loaded from there
    return path.parent


def _saved(model: LipschitzClassifier, to: Path) -> tuple[ModelFolder, LipschitzClassifier]:
    """Save the network of a checkpoint, without a measurement, and with numbers as the names of its classes."""
    from sll_zoo.zoo.publishing.save import read_back, save_pretrained  # imported late, since it imports matplotlib

    require_writable(to)
    save_pretrained(model.eval(), to, label_names=[str(label) for label in range(model.num_classes)])
    return read_back(to, model)
