"""Published numbers of other networks, from published.json, where each has its source."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class Published:
    """A network as its source describes it.

    Attributes:
        network: Its name.
        data: The data set, as in the zoo's names.
        norm: Of the radii: L2 or Linf.
        parameters: Their number, if it is stated.
        clean: Accuracy in %, if it is stated.
        certified: Certified accuracy in %, by the label of the radius.
        a100_hours: Time of training on one A100, if it is stated.
        generated_images: Whether images beyond the data set were trained on.
        proved: False if a constant comes from a bound from below, or can be exceeded, as the note says.
        note: What else must be known, or nothing.
        source: Where the numbers stand.
    """

    network: str
    data: str
    norm: str
    parameters: int | None
    clean: float | None
    certified: dict[str, float]
    a100_hours: float | None
    generated_images: bool
    proved: bool
    note: str
    source: str


@cache
def published() -> tuple[Published, ...]:
    """Return all published networks."""
    return tuple(Published(**network) for network in json.loads(FILE.read_text("utf-8"))["networks"])
