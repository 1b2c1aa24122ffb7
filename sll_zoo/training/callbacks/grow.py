"""A training of a network that grows from stage to stage."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import accumulate
from typing import Any, cast

import msgspec
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.states import TrainerFn
from msgspec.structs import replace
from torch import Tensor

from sll_zoo.data import ImageData
from sll_zoo.errors import CheckpointError, ConfigError
from sll_zoo.models import LipNet, LipschitzClassifier
from sll_zoo.models.growth import Pair, corresponding, needs_images, require_growth
from sll_zoo.training.callbacks.cuda_graphs import CUDAGraphs
from sll_zoo.training.network import kept_of
from sll_zoo.training.optimizers import ScheduledModule
from sll_zoo.training.stages import Stage, carried, entered
from sll_zoo.training.strategies import require_whole_network
from sll_zoo.zoo import create_model
from sll_zoo.zoo.entries import recipe
from sll_zoo.zoo.growing import grow, named, some_images
from sll_zoo.zoo.records.record import GrowthStage


class Grow(Callback):
    """Train in stages, at each of which the network grows (:func:`~sll_zoo.grow`).

    Each stage has a learning-rate schedule of its own. What the optimizer keeps of a weight, such as its mean gradient, is
    carried over for all weights that existed, and is 0 for new ones. The certificate is that of the network as it is at the
    moment. A checkpoint holds the shape of its moment, too: ``ckpt:path`` loads its network, and with ``ckpt_path`` the training
    goes on. Other callbacks that have a method ``on_growth(task)`` are told.

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
        if not stages or not all(isinstance(stage, Stage) for stage in stages):
            raise ConfigError(f"stages={stages}", "give at least one sll_zoo.training.callbacks.Stage")
        if stages[0].name or stages[0].model_args:
            raise ConfigError("a name or model_args in the first stage", "give them to the task: model.name, model.model_args")
        self.stages = list(stages)
        self._place = 0
        self._before: tuple[Any, int] = (None, 0)  # batch size and loaders of the data without stages
        self._trained: list[GrowthStage] = []  # the stages so far, the present one last
        self._last = time.perf_counter()

    @property
    def stage(self) -> Stage:
        """The present stage."""
        return self.stages[self._place]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Tell the task that its network grows."""
        task = cast("ScheduledModule", pl_module)
        task.growth = self
        if stage == "fit":
            self._before = (getattr(datamodule_of(trainer), "batch_size", None), _reloading(trainer))
            self._require_alone(trainer, task)
            self._trained = []
            self._begin(task, 0)
            self._set_batch_size(trainer, 0)

    def restore(self, task: ScheduledModule, checkpoint: dict[str, Any]) -> None:
        """Give a task a network of the shape that a checkpoint has, before its weights are loaded."""
        made_by = checkpoint["hyper_parameters"]
        if _shapes(checkpoint["state_dict"]) != _shapes(task.state_dict()) and made_by["name"] is not None:
            checkpointing = task.model.grad_checkpointing
            task.model = create_model(made_by["name"], **made_by["model_args"] or {})
            task.model.set_grad_checkpointing(checkpointing)
            task.hparams.update(kept_of(task.model, None, task.model))
        if task.trainer.state.fn != TrainerFn.FITTING:
            return
        kept = checkpoint["callbacks"].get(self.state_key)
        if not kept or kept["stages"] != self.state_dict()["stages"]:
            raise CheckpointError(f"a checkpoint of a training with {kept or 'no stages'}", "set the stages back")
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
        self._note(seconds=now - self._last)
        self._last = now
        return tuple(self._trained)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check all stages to come before any work."""
        network = cast("ScheduledModule", pl_module).model
        for stage in self.stages[self._place + 1 :]:
            larger = _larger(network, stage)
            if larger.config != network.config:
                require_growth(network.config, larger.config)
            if needs_images(network.config, larger.config) and not isinstance(datamodule_of(trainer), ImageData):
                raise ConfigError(
                    f"a stage with more layers of the same width, and data of {type(datamodule_of(trainer)).__name__}",
                    "train with a data module of sll_zoo.data, on whose images new layers are made silent; or let width grow",
                )
            network = larger

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Note the time."""
        self._last = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the network grow if a stage begins."""
        _set_reloading(trainer, self._before[1])
        while self._place < self._place_at(trainer.current_epoch):
            self._enter_next(trainer, cast("ScheduledModule", pl_module))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Set the batch size of the next epoch, whose loader is made anew before it starts if that changes."""
        self._note(epochs=1)
        if self._set_batch_size(trainer, trainer.current_epoch + 1):
            _set_reloading(trainer, 1)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave task, data and trainer as they were, but for the network."""
        cast("ScheduledModule", pl_module).growth = None
        batch_size, reloading = self._before
        if stage == "fit" and batch_size and any(each.batch_size for each in self.stages):
            datamodule_of(trainer).batch_size = batch_size
            _set_reloading(trainer, reloading)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Do the same."""
        self.teardown(trainer, pl_module, "fit" if trainer.state.fn == TrainerFn.FITTING else "")

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
        if any(stage.batch_size for stage in self.stages) and not hasattr(datamodule_of(trainer), "batch_size"):
            raise ConfigError("a stage with a batch_size, and data without", "give a data module with the attribute batch_size")

    def _enter_next(self, trainer: Trainer, task: ScheduledModule) -> None:
        """Begin the next stage: with a larger network, unless its shape is the same, and with a schedule of its own."""
        small, stage = task.model, self.stages[self._place + 1]
        shape = _larger(small, stage).config
        pairs = [Pair(parameter, parameter, 1, False) for parameter in small.parameters()]
        if shape != small.config:
            images = some_images(cast("ImageData", datamodule_of(trainer))) if needs_images(small.config, shape) else None
            task.model = grow(small, stage.name or _name(small), images, **stage.model_args)
            task.hparams.update(kept_of(task.model, None, task.model))
            pairs = list(corresponding(cast("LipNet", small), cast("LipNet", task.model)))
            for callback in trainer.callbacks:  # type: ignore[attr-defined]
                if hasattr(callback, "on_growth"):
                    callback.on_growth(task)
            if isinstance(trainer.strategy, DDPStrategy):
                trainer.strategy.model = task
                trainer.strategy.configure_ddp()
        (before,) = trainer.optimizers
        self.trained()
        self._begin(task, self._place + 1)
        trainer.strategy.setup_optimizers(trainer)
        (after,) = trainer.optimizers
        for pair in pairs:
            after.state[pair.large] = carried(before, pair)

    def _begin(self, task: ScheduledModule, place: int) -> None:
        self._place = place
        self._trained.append(entered(task.model))

    def _note(self, epochs: int = 0, seconds: float = 0.0) -> None:
        """Add to the length of the present stage."""
        if self._trained:
            present = self._trained.pop()
            self._trained.append(replace(present, epochs=present.epochs + epochs, seconds=present.seconds + seconds))

    def _place_at(self, epoch: int) -> int:
        """Return the number of the stage that an epoch belongs to."""
        ends = list(accumulate(stage.epochs for stage in self.stages))
        return min(sum(end <= epoch for end in ends), len(ends) - 1)

    def _set_batch_size(self, trainer: Trainer, epoch: int) -> bool:
        """Give the data module the batch size of an epoch, and return whether it had another."""
        stages = self.stages[: self._place_at(epoch) + 1]
        size = next((stage.batch_size for stage in reversed(stages) if stage.batch_size), self._before[0])
        if not any(stage.batch_size for stage in self.stages) or datamodule_of(trainer).batch_size == size:
            return False
        datamodule_of(trainer).batch_size = size
        return True


def datamodule_of(trainer: Trainer) -> Any:
    """Return the data module, which Lightning attaches to its trainer without declaring it."""
    return getattr(trainer, "datamodule", None)


def _larger(network: LipschitzClassifier, stage: Stage) -> LipschitzClassifier:
    """Return the network of a stage, without numbers in it, or the given one if the stage keeps it."""
    if not stage.name and not stage.model_args and recipe(network) is None:
        return network
    return named(network, stage.name or _name(network), stage.model_args)


def _name(network: LipschitzClassifier) -> str:
    if found := recipe(network):
        return found[0]
    raise ConfigError("a stage without a name after a network that create_model did not build", "give the stage a name")


def _shapes(state: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items() if name.startswith("model.")}


def _reloading(trainer: Trainer) -> int:
    """Return after how many epochs the trainer makes its training loader anew; 0 for never."""
    return cast("int", trainer.reload_dataloaders_every_n_epochs)  # type: ignore[attr-defined]  # not declared by Lightning


def _set_reloading(trainer: Trainer, epochs: int) -> None:
    trainer.reload_dataloaders_every_n_epochs = epochs  # type: ignore[attr-defined]
