"""The files that hold a network's weights: one, or several with an index, named as the Hub's client names them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
from huggingface_hub import split_torch_state_dict_into_shards
from torch import Tensor

from sll_zoo.files import atomic_write
from sll_zoo.zoo.records.record import Record

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
# Name of the pickle that timm's save_for_hf writes unless it is asked for safetensors.
PICKLE_FILE = "pytorch_model.bin"
# Patterns of the names of all files of weights, as the Hub's client matches them.
PATTERNS = (WEIGHTS_FILE, INDEX_FILE, "model-*-of-*.safetensors")
# Size of the tensors in a shipped file, in bytes: git hosts warn above 50 MB, and the file's header needs some of that.
LARGEST_SHIPPED = 49_000_000
# Size of the tensors in any other file, in bytes: the largest that the Hub recommends.
LARGEST = 5_000_000_000


def convert_pickle(folder: str | Path) -> str:
    """Return how to turn a folder's pickle of tensors into safetensors, without running code that the pickle may hold."""
    pickle, weights = Path(folder) / PICKLE_FILE, Path(folder) / WEIGHTS_FILE
    return (
        "save it again by save_for_hf(..., safe_serialization=True), or convert it if you know whose it is: "
        f'python -c "import torch, safetensors.torch as s; '
        f"s.save_file(torch.load('{pickle.as_posix()}', weights_only=True), '{weights.as_posix()}')\""
    )


def weights_files(record: Record | None) -> list[str]:
    """Return the names of the files of weights that a record describes, in order; without a record, of one file."""
    count = record.files if record else 1
    return [f"model-{n + 1:05}-of-{count:05}.safetensors" for n in range(count)] if count > 1 else [WEIGHTS_FILE]


def serialize(state: dict[str, Tensor], bits: int, largest: int) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return the content of the files of weights and of their index, by name, and the record's sha256, size and files.

    Args:
        state: Packed tensors on the CPU.
        bits: Bits of a weight, which each file states if they are fewer than 32.
        largest: Largest size of the tensors in a file, in bytes; a larger tensor has a file of its own.
    """
    split = split_torch_state_dict_into_shards(state, max_shard_size=largest)
    stated = None if bits == 32 else {"bits": str(bits)}
    weights = {
        name: safetensors.torch.save({key: state[key] for key in keys}, stated)
        for name, keys in split.filename_to_tensors.items()
    }
    index = msgspec.json.encode({"metadata": split.metadata, "weight_map": split.tensor_to_filename})
    files = weights | ({INDEX_FILE: msgspec.json.format(index, indent=2) + b"\n"} if split.is_sharded else {})
    digest = hashlib.sha256()
    for content in weights.values():
        digest.update(content)
    return files, {"sha256": digest.hexdigest(), "size": sum(map(len, weights.values())), "files": len(weights)}


def write_weights(folder: Path, files: dict[str, bytes]) -> None:
    """Write the files that :func:`serialize` returns, and remove those of earlier weights."""
    for filename, content in files.items():
        with atomic_write(folder / filename) as temporary:
            temporary.write_bytes(content)
    remove_others(folder, files)


def remove_others(folder: Path, kept: Collection[str]) -> None:
    """Remove the files of weights of an earlier network from a folder, all but those with the given names."""
    for pattern in PATTERNS:
        for path in folder.glob(pattern):
            if path.name not in kept:
                path.unlink()
