"""Random numbers that depend on where a training is, not on how it came there."""

from __future__ import annotations

import random
import warnings
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch.utils.data import DataLoader

from sll_zoo.compat import before_transfer, begin_anew, leaves
from sll_zoo.errors import CheckpointError


class SeededBatches(Callback):
    """Seed torch, numpy and random before every epoch and every batch, and let an interrupted epoch go on where it was.

    Before an epoch the seed is a function of the training's seed and the epoch, and the same on all processes: samplers draw the
    order of the images from it, and workers their seeds. Before each further batch, and before what becomes of the first once it
    is read, such as an augmentation, it is one of the batch and the process, too. A training that goes on in the middle of an
    epoch reads the batches that it has seen once more and drops them, so that those after them are the same whatever reading them
    draws.

    The training's seed is torch's when it begins, and that of the checkpoint when it goes on. After it, torch, numpy and random
    are as they were before. What is not covered is what workers draw that persist from epoch to epoch.
    """

    def __init__(self) -> None:
        self._place: dict[str, int] = {}  # where the training is; empty before it begins
        self._epoch_is_seeded = False
        self._isolation = ExitStack()

    def state_dict(self) -> dict[str, Any]:
        """Return the seed, and the epoch and batch that come next."""
        return dict(self._place)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a seed, at an epoch and batch."""
        self._place = dict(state_dict)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002 - Lightning's signature
        """Forget an earlier training."""
        self._place = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Begin the first epoch anew, now with its seed, at the batch that comes next."""
        self._isolation.enter_context(isolate_rng())
        place = self._place or {"seed": torch.initial_seed(), "epoch": trainer.current_epoch, "batch": 0}
        self._place = trainer.strategy.broadcast(place)
        self._seed_epoch(trainer)
        # Lightning has made the iterator already, and has drawn numbers for it; the zoo's own loaders wait for the first batch.
        if not begin_anew(trainer.fit_loop, self._place["batch"]) and self._place["batch"]:
            raise CheckpointError(
                f"this Lightning cannot go on after batch {self._place['batch']} of an epoch",
                "go on from a checkpoint of the end of an epoch, or install lightning==2.6.*",
            )
        self._part_processes(trainer)
        self._seed_batch(trainer)
        self._isolation.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint that ended before the epoch ended")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Seed an epoch other than the first."""
        if not self._epoch_is_seeded:
            self._seed_epoch(trainer)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Seed the next batch."""
        self._place["batch"] = batch_idx + 1
        self._seed_batch(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Seed the next batch again, since the validation may have drawn numbers that a resumed training does not draw."""
        self._seed_batch(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Note that the next epoch comes."""
        self._place |= {"epoch": trainer.current_epoch + 1, "batch": 0}
        self._epoch_is_seeded = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Give back generators and warnings as they were."""
        self._isolation.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Give back generators and warnings as they were."""
        self._isolation.close()

    def _seed_epoch(self, trainer: Trainer) -> None:
        value = _mixed(self._place["seed"], self._place["epoch"], 0, 0)
        for loader in leaves(trainer.train_dataloader):
            if hasattr(loader, "sampler") and hasattr(loader.sampler, "set_epoch"):
                # Lightning counts one epoch too many when a training of max_steps goes on at the end of one.
                loader.sampler.set_epoch(self._place["epoch"])
            if isinstance(loader, DataLoader):
                # Starting the workers draws a number, but not in every epoch: from here, not from torch's generator.
                loader.generator = (loader.generator or torch.Generator()).manual_seed(value)
        _seed(value)
        self._epoch_is_seeded = True

    def _part_processes(self, trainer: Trainer) -> None:
        """Seed the first batch of an epoch, too, on all processes but one: where all have read it, and before it is augmented.

        Lightning has no hook there but those of task and data module. The first process goes on with the epoch's numbers.
        """

        def seed() -> None:
            if trainer.training and self._place["batch"] == 0:
                _seed(_mixed(self._place["seed"], self._place["epoch"], 0, trainer.global_rank))

        if trainer.global_rank:
            before_transfer(trainer.strategy, seed)

    def _seed_batch(self, trainer: Trainer) -> None:
        if batch := self._place.get("batch"):
            _seed(_mixed(self._place["seed"], self._place["epoch"], batch, trainer.global_rank))


def _mixed(*numbers: int) -> int:
    """Return a seed that differs wherever one of the numbers does."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _seed(value: int) -> None:
    torch.manual_seed(value)
    random.seed(value)
    np.random.seed(value % 2**32)  # noqa: NPY002 - the generator that others draw from
