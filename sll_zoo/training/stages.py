"""The stages of a training in which a network grows, and what is carried over from one to the next."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor, zeros_like
from torch.optim import Optimizer

from sll_zoo.errors import ConfigError
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.growth import GROWING, Pair
from sll_zoo.zoo.entries import ARCHITECTURES, recipe
from sll_zoo.zoo.records.record import GrowthStage


@dataclass(frozen=True)
class Stage:
    """A part of a training, in which the network keeps its shape.

    Attributes:
        epochs: Its length.
        name: A name of :func:`~sll_zoo.list_models`, whose network it trains; by default that of the stage before.
        model_args: Fields of :class:`~sll_zoo.models.LipNetConfig` in which its network differs from the one of that name.
        batch_size: That of the data module from this stage on; by default that of the stage before.
        lr: The largest learning rate; by default the optimizer's own.

    Raises:
        ConfigError: Fewer than one epoch or image in a batch, or a rate that is not positive.
    """

    epochs: int
    name: str = ""
    model_args: dict[str, Any] = field(default_factory=dict)
    batch_size: int | None = None
    lr: float | None = None

    def __post_init__(self) -> None:
        """Refuse values that no training can have."""
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= 1) and not (name == "batch_size" and value is None):
                raise ConfigError(f"a stage with {name}={value!r}", "give an integer of at least 1")
        if self.lr is not None and not 0 < self.lr < float("inf"):
            raise ConfigError(f"a stage with lr={self.lr}", "give a positive number")


def entered(network: LipschitzClassifier) -> GrowthStage:
    """Return the stage that a network enters, for a record, with the sizes in which it differs from the one of its name."""
    parameters = sum(parameter.numel() for parameter in network.parameters())
    if not (found := recipe(network)):
        return GrowthStage(network=type(network).__name__, parameters=parameters)
    usual = asdict(ARCHITECTURES[found[0].partition(".")[0]])
    sizes = {size: found[1].get(size) for size in (*GROWING, "downsample", "pool")}
    words = [f"`{found[0]}`", *(f"{size} {value}" for size, value in sizes.items() if value != usual.get(size))]
    return GrowthStage(network=", ".join(words), parameters=parameters)


def carried(optimizer: Optimizer, pair: Pair) -> dict[str, Any]:
    """Return what an optimizer keeps of a parameter, in the places where a larger one has it, with 0 elsewhere.

    Nothing is carried over by optimizers that keep numbers of other shapes, such as those of a factorisation.
    """
    kept: dict[str, Any] = {}
    for key, value in optimizer.state[pair.small].items():
        if isinstance(value, Tensor) and value.ndim and value.shape != pair.small.shape:
            return {} if pair.small.shape != pair.large.shape else dict(optimizer.state[pair.small])
        kept[key] = value
        if isinstance(value, Tensor) and value.ndim:
            kept[key] = zeros_like(pair.large, dtype=value.dtype)
            pair.embed(value, kept[key])
    return kept
