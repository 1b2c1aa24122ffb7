"""A training of a network that grows from stage to stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Any, cast

import msgspec
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import DDPStrategy
from msgspec.structs import replace
from torch import Tensor, zeros_like

from sll_zoo.data import ImageData
from sll_zoo.errors import CheckpointError, ConfigError
from sll_zoo.models import LipNet, LipschitzClassifier
from sll_zoo.models.growth import GROWING, Pair, corresponding, needs_images, require_growth
from sll_zoo.training.callbacks.cuda_graphs import CUDAGraphs
from sll_zoo.training.network import kept_of
from sll_zoo.training.optimizers import ScheduledModule
from sll_zoo.training.products import carry_products
from sll_zoo.training.strategies import require_whole_network
from sll_zoo.zoo import create_model
from sll_zoo.zoo.entries import ARCHITECTURES, recipe
from sll_zoo.zoo.growing import grow, named, some_images
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
    """

    epochs: int
    name: str = ""
    model_args: dict[str, Any] = field(default_factory=dict)
    batch_size: int | None = None
    lr: float | None = None


class Grow(Callback):
    """Train in stages, at each of which the network grows (:func:`~sll_zoo.grow`).

    Each stage has a learning-rate schedule of its own. What the optimizer keeps of a weight, such as its mean gradient, is
    carried over for all weights that existed, and is 0 for new ones. The certificate is that of the network as it is at the
    moment. A checkpoint holds the shape of its moment, too: ``ckpt:path`` loads its network, and with ``ckpt_path`` the training
    goes on.

    Args:
        stages: In their order. The first one trains the task's network as it is; the epochs of all add up to ``max_epochs``.

    Raises:
        ConfigError: Stages that do not add up, or a network that cannot grow into the next; ``WeightAveraging`` or ``CUDAGraphs``
            beside this callback; a strategy other than DDP or a single device; for more layers of the same width, another data
            module than this package's.
        UnknownNameError: No such name.
        CheckpointError: A checkpoint of a training with other stages.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        if not stages or any(stage.epochs < 1 for stage in stages):
            raise ConfigError(f"stages={list(stages)}", "give at least one stage, each of at least one epoch")
        if stages[0].name or stages[0].model_args:
            raise ConfigError("a name or model_args in the first stage", "give them to the task: model.name, model.model_args")
        self.stages = list(stages)
        self._place = 0
        self._trained: list[GrowthStage] = []  # the stages so far, the present one last
        self._last = time.perf_counter()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check all stages before any work."""
        if stage != "fit":
            return
        task = cast("ScheduledModule", pl_module)
        self._require_alone(trainer, task)
        self._require_growth(trainer, task.model)
        task.growth = self
        self._trained = []
        self._begin(task, 0)
        self._set_batch_size(trainer, 0)

    def restore(self, task: ScheduledModule, checkpoint: dict[str, Any]) -> None:
        """Give a task a network of the shape that a checkpoint has, before its weights are loaded."""
        kept, named_by = checkpoint["callbacks"].get(self.state_key), checkpoint["hyper_parameters"]
        if not kept or kept["stages"] != self.state_dict()["stages"]:
            raise CheckpointError(f"a checkpoint of a training with {kept or 'no stages'}", "set the stages back")
        if kept["place"]:
            task.model = create_model(named_by["name"], **named_by["model_args"] or {})
            task.hparams.update(kept_of(task.model, None, task.model))
        self._begin(task, kept["place"])
        self._trained = msgspec.convert(kept["trained"], list[GrowthStage])
        self._set_batch_size(task.trainer, checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])

    def state_dict(self) -> dict[str, Any]:
        """Return the stages, the number of the present one, and how long each took so far."""
        trained = [msgspec.to_builtins(stage) for stage in self.trained()]
        return {"stages": list(map(asdict, self.stages)), "place": self._place, "trained": trained}

    def trained(self) -> tuple[GrowthStage, ...]:
        """Return the stages up to this moment, for a record."""
        now = time.perf_counter()
        if self._trained:
            present = self._trained.pop()
            self._trained.append(replace(present, seconds=present.seconds + now - self._last))
        self._last = now
        return tuple(self._trained)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Note the time."""
        self._last = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the network grow if a stage begins."""
        self._make_loader_anew(trainer, False)
        while self._place < self._place_at(trainer.current_epoch):
            self._grow(trainer, cast("ScheduledModule", pl_module), self.stages[self._place + 1])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Set the batch size of the next epoch, whose loader is made before it starts."""
        self._make_loader_anew(trainer, self._set_batch_size(trainer, trainer.current_epoch + 1))

    def _require_alone(self, trainer: Trainer, task: ScheduledModule) -> None:
        """Refuse what cannot go along with a network that changes."""
        require_whole_network(trainer, self)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it without declaring it
            if isinstance(callback, WeightAveraging | CUDAGraphs):
                raise ConfigError(f"Grow with {type(callback).__name__}", "leave out one of the two")
        if not all(parameter.requires_grad for parameter in task.model.parameters()):
            raise ConfigError("Grow with weights that are not trained", "leave out head_only")
        total = sum(stage.epochs for stage in self.stages)
        if not getattr(trainer, "fast_dev_run", False) and (trainer.max_epochs != total or trainer.max_steps != -1):
            raise ConfigError(
                f"stages of {total} epochs with max_epochs={trainer.max_epochs}, max_steps={trainer.max_steps}",
                f"give the trainer max_epochs={total}, and no max_steps",
            )
        if any(stage.batch_size for stage in self.stages) and not hasattr(_data(trainer), "batch_size"):
            raise ConfigError("a stage with a batch_size, and data without", "give a data module with the attribute batch_size")

    def _require_growth(self, trainer: Trainer, network: LipschitzClassifier) -> None:
        """Refuse stages whose networks cannot grow into each other."""
        for stage in self.stages[1:]:
            larger = named(network, self._name(stage, network), stage.model_args)
            require_growth(network.config, larger.config)
            if needs_images(network.config, larger.config) and not isinstance(_data(trainer), ImageData):
                raise ConfigError(
                    f"a stage with more layers of the same width, and data of {type(_data(trainer)).__name__}",
                    "train with a data module of sll_zoo.data, on whose images new layers are made silent; or let width grow",
                )
            network = larger

    def _grow(self, trainer: Trainer, task: ScheduledModule, stage: Stage) -> None:
        small, name = task.model, self._name(stage, task.model)
        shape = named(small, name, stage.model_args).config
        images = some_images(cast("ImageData", _data(trainer))) if needs_images(small.config, shape) else None
        large = grow(small, name, images, **stage.model_args)
        carry_products(small, large)
        task.model = large
        task.hparams.update(kept_of(large, None, large))
        if isinstance(trainer.strategy, DDPStrategy):
            trainer.strategy.model = task
            trainer.strategy.configure_ddp()
        (before,) = trainer.optimizers
        self.trained()
        self._begin(task, self._place + 1)
        trainer.strategy.setup_optimizers(trainer)
        (after,) = trainer.optimizers
        for pair in corresponding(cast("LipNet", small), cast("LipNet", large)):
            after.state[pair.large] = {key: _carried(value, pair) for key, value in before.state[pair.small].items()}

    def _begin(self, task: ScheduledModule, place: int) -> None:
        stage = self.stages[place]
        self._place = place
        self._trained.append(GrowthStage(network=_described(task.model), parameters=_size(task.model), epochs=stage.epochs))
        task.lr, task.schedule_epochs = stage.lr, stage.epochs

    def _name(self, stage: Stage, network: LipschitzClassifier) -> str:
        if stage.name:
            return stage.name
        if found := recipe(network):
            return found[0]
        raise ConfigError("a stage without a name after a network that create_model did not build", "give the stage a name")

    def _place_at(self, epoch: int) -> int:
        """Return the number of the stage that an epoch belongs to."""
        ends = list(accumulate(stage.epochs for stage in self.stages))
        return min(sum(end <= epoch for end in ends), len(ends) - 1)

    def _set_batch_size(self, trainer: Trainer, epoch: int) -> bool:
        """Give the data module the batch size of an epoch, if a stage up to then has one, and return whether it had another."""
        data, given = _data(trainer), [each.batch_size for each in self.stages[: self._place_at(epoch) + 1] if each.batch_size]
        if not given or data.batch_size == given[-1]:
            return False
        data.batch_size = given[-1]
        return True

    def _make_loader_anew(self, trainer: Trainer, wanted: bool) -> None:
        """Let the trainer make its training loader anew before the next epoch, or keep the one that it has."""
        if any(stage.batch_size for stage in self.stages):
            trainer.reload_dataloaders_every_n_epochs = int(wanted)  # type: ignore[attr-defined]  # not declared by Lightning


def _carried(value: Any, pair: Pair) -> Any:
    """Return what an optimizer keeps of a parameter in the places where a larger one has it, with 0 elsewhere."""
    if not isinstance(value, Tensor) or value.shape != pair.small.shape:
        return value
    larger = zeros_like(pair.large, dtype=value.dtype)
    pair.embed(value, larger)
    return larger


def _described(network: LipschitzClassifier) -> str:
    """Return the name of a network, with the sizes in which it differs from the one of that name."""
    name, arguments = recipe(network) or (type(network).__name__, asdict(network.config))
    usual = asdict(ARCHITECTURES[name.partition(".")[0]]) if recipe(network) else {}
    sizes = {size: arguments[size] for size in (*GROWING, "downsample", "pool")}
    return ", ".join([f"`{name}`", *(f"{size} {value}" for size, value in sizes.items() if usual.get(size) != value)])


def _size(network: LipschitzClassifier) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _data(trainer: Trainer) -> Any:
    """Return the data module, which Lightning attaches to its trainer without declaring it."""
    return getattr(trainer, "datamodule", None)
