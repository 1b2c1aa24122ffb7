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
# What timm's save_for_hf writes unless it is asked for safetensors.
PICKLE_FILE = "pytorch_model.bin"
# All of them, as the Hub matches names.
PATTERNS = (WEIGHTS_FILE, INDEX_FILE, "model-*-of-*.safetensors")
# What git hosts take without a warning is 50 MB a file; the rest is for the file's header.
LARGEST_SHIPPED = 49_000_000
# The largest file that the Hub recommends.
LARGEST = 5_000_000_000


def convert_pickle(folder: str | Path) -> str:
    """Return how the owner of a folder gets from a pickle of tensors to safetensors, without running what else it may hold."""
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
    """Return the content of the files of weights and of their index, by name, and what a record says of the weights.

    Args:
        state: On the CPU, packed.
        bits: Of a weight, which each file states if they are fewer than 32.
        largest: Size of the tensors in a file, in bytes; a tensor that is larger has a file of its own.
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
    """Write what :func:`serialize` returns, in place of the files before."""
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
