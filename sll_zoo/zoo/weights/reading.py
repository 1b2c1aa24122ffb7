"""Reading weights and checkpoints that a stranger may have written, without executing anything in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from sll_zoo.errors import WeightsError
from sll_zoo.files import DAMAGE
from sll_zoo.functional.finite import require_finite
from sll_zoo.zoo.records.record import Record
from sll_zoo.zoo.weights.packing import BITS
from sll_zoo.zoo.weights.shards import PICKLE_FILE, WEIGHTS_FILE, convert_pickle

CONFIG_FILE = "config.json"
SAVE_AGAIN = "give a folder or repository that sll_zoo saved"
REQUANTIZE = "quantise the network again: `sll-zoo quantize --help`"
TRAINED = "give a .ckpt that `sll-zoo fit` wrote"
GIVE_NETWORK = "give one of its shape: CertifiedClassifier.load_from_checkpoint(PATH, name=model)"
RESTORE = "restore it (in a checkout: git checkout checkpoints sll_zoo/zoo/records), or delete it to load it again from the Hub"
# First bytes of files that are not weights, what kind of file has them, and the remedy.
NOT_WEIGHTS = (
    (b"<", "an HTML or XML page", "a proxy or a login page may have answered: delete the file and load it again"),
    (b"PK\x03\x04", "a pickle of torch.save, which can run code", "ask its author for model.safetensors"),
    (b"\x80\x02", "a pickle, which can run code", "ask its author for model.safetensors"),
    (b"version https://git-lfs", "a pointer of git-lfs", "run `git lfs pull`"),
)


def read_weights(paths: Sequence[Path], record: Record | None) -> dict[str, Tensor]:
    """Return the tensors of safetensors files; nothing in them is executed.

    Args:
        paths: The files, in order.
        record: Record that the files must agree with; None for any files.

    Raises:
        WeightsError: A file of another kind or size or hash, or that holds NaN or infinity.
    """
    contents = {path: path.read_bytes() for path in paths}
    try:
        if record:
            _require_size(contents, record)
        with ThreadPoolExecutor(max_workers=1) as aside:  # hashing takes as long as reading, and in parallel
            hashing = aside.submit(_require_hash, contents, record)
            try:
                state = _tensors(contents)
                require_finite(told(paths), state)
            finally:
                hashing.result()  # a wrong hash is the error to show: it explains the others
    except WeightsError as error:
        for path, content in contents.items():
            for start, kind, remedy in NOT_WEIGHTS:
                if content.lstrip().startswith(start):
                    raise WeightsError(f"{path} ({len(content):,} bytes) is {kind}, not a safetensors file", remedy) from error
        raise
    return state


def read_trained(path: Path) -> dict[str, Tensor]:
    """Return the tensors of the network in a checkpoint: the weights that validation measures and ``SavePretrained`` saves.

    They are its ``state_dict``, where Lightning keeps the averages if a training averages its weights.

    Raises:
        WeightsError: A file that is no checkpoint of a ``CertifiedClassifier``, or that holds NaN or infinity.
    """
    prefix = "model."
    held = read_checkpoint(path)["state_dict"].items()
    state = {key.removeprefix(prefix): value for key, value in held if isinstance(value, Tensor) and key.startswith(prefix)}
    require_finite(str(path), state)
    return state


def told(paths: Sequence[Path]) -> str:
    """Return the names of files for a message: the first one, and how many there are.

    Example:
        >>> told([Path("model-00001-of-00002.safetensors"), Path("model-00002-of-00002.safetensors")])
        'model-00001-of-00002.safetensors (the first of 2 files)'
    """
    return f"{paths[0]} (the first of {len(paths)} files)" if len(paths) > 1 else str(paths[0])


def _tensors(contents: Mapping[Path, bytes]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for path, content in contents.items():
        try:
            state |= safetensors.torch.load(content)
        except (safetensors.SafetensorError, KeyError) as error:  # KeyError: a dtype that torch does not have
            raise WeightsError(f"{path} is not a safetensors file ({error})", "load or download it again") from error
    return state


def _require_size(contents: Mapping[Path, bytes], record: Record) -> None:
    size = sum(map(len, contents.values()))
    if size != record.size:
        kind = "is truncated" if size < record.size else "is too large"
        raise WeightsError(f"{told(list(contents))} {kind}: it has {size:,} bytes, not {record.size:,}", RESTORE)


def _require_hash(contents: Mapping[Path, bytes], record: Record | None) -> None:
    if not record:
        return
    digest = hashlib.sha256()
    for content in contents.values():
        digest.update(content)
    if (found := digest.hexdigest()) != record.sha256:
        raise WeightsError(
            f"{told(list(contents))} has sha256 {found[:12]}…, not {record.sha256[:12]}…: it is damaged or another file", RESTORE
        )


def read_bits(path: Path, record: Record | None) -> int:
    """Return how many bits a weight has in a safetensors file that :func:`read_weights` has read, 32 where it does not say.

    Raises:
        WeightsError: A number that nothing is packed with, or another one than is recorded.
    """
    with safetensors.safe_open(path, "pt") as file:
        stated = (file.metadata() or {}).get("bits", "32")
    if stated not in map(str, BITS) or (record and record.bits != int(stated)):
        wanted = f"the {record.bits} that are recorded" if record else f"one of {', '.join(map(str, BITS))}"
        raise WeightsError(f"{path} says that a weight has {stated[:20]!r} bits, not {wanted}", REQUANTIZE)
    return int(stated)


def require_file(path: Path) -> Path:
    """Return the path of a file that exists, and raise WeightsError for one that does not."""
    if path.name == WEIGHTS_FILE and not path.exists() and path.with_name(PICKLE_FILE).is_file():
        raise WeightsError(
            f"{path.parent} has no {path.name} but {PICKLE_FILE}, a pickle, which is never loaded", convert_pickle(path.parent)
        )
    if not path.is_file():
        raise WeightsError(f"{path} does not exist", f"give a folder with {CONFIG_FILE} and {WEIGHTS_FILE}")
    return path


def read_checkpoint(path: Path, map_location: str = "cpu") -> dict[str, Any]:
    """Return the content of a checkpoint of a ``CertifiedClassifier``; nothing in it is executed.

    Raises:
        WeightsError: A file that is no such checkpoint, is damaged, or is of a network that ``create_model`` did not build.
    """
    if not path.exists():
        raise WeightsError(f"{path} does not exist", TRAINED)
    try:
        checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except (*DAMAGE, OSError):
        checkpoint = None
    if not isinstance(checkpoint, dict) or not _is_of_a_classifier(checkpoint):
        raise WeightsError(f"{path} is no checkpoint, or not a whole one", TRAINED)
    if checkpoint["hyper_parameters"]["name"] is None:
        raise WeightsError(f"{path} is of a network that create_model did not build", GIVE_NETWORK)
    return checkpoint


def _is_of_a_classifier(checkpoint: dict[str, Any]) -> bool:
    state, named = checkpoint.get("state_dict"), checkpoint.get("hyper_parameters")
    if not isinstance(state, dict) or not isinstance(named, dict):
        return False
    name = named.get("name", 0)
    # A checkpoint that names another checkpoint was not written by this package.
    known = name is None or (isinstance(name, str) and not name.startswith("ckpt:"))
    return known and isinstance(named.get("model_args") or {}, dict)
