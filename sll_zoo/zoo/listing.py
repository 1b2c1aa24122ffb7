"""The models with weights: the record of each, and where its weights are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sll_zoo.zoo.publishing.pull import locate
from sll_zoo.zoo.records.record import Record, read_records, to_dict
from sll_zoo.zoo.weights.shards import weights_files


@dataclass(frozen=True)
class Listed:
    """A model with weights.

    Attributes:
        record: The record of the weights.
        location: The folder that holds them, or ``hf-hub:org/name@revision``.
        available: Whether they are on this machine: in ``checkpoints/``, in the installed package, or in the Hub's cache.
    """

    record: Record
    location: str
    available: bool

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in JSON's types."""
        return {**to_dict(self.record), "location": self.location, "available": self.available}


def listed_models() -> list[Listed]:
    """Return the models that ``create_model(name, pretrained=True)`` has weights for, without using the network."""
    listed = []
    for name, record in read_records().items():
        place, files = locate(name), weights_files(record)
        if isinstance(place, Path):
            listed.append(Listed(record, str(place), available=True))
        else:
            listed.append(Listed(record, f"hf-hub:{place.model_id}", available=all(map(place.cached, files))))
    return listed
