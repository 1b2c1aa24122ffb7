"""Random numbers that depend on epoch and batch alone, not on whether the training was interrupted before."""

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
    """Seed torch, numpy and random before every epoch and every batch, and resume an interrupted epoch where it was.

    Before an epoch the seed is a function of the training's seed and the epoch, and the same on all processes: samplers draw the
    order of the images from it, and workers their seeds. Before each later batch it also depends on the batch and the process.
    For the first batch it depends on the process as soon as the batch is read, before an augmentation. A training that is resumed
    in the middle of an epoch reads the batches that it has seen once more and drops them, so that the batches after them are the
    same, however many random numbers reading takes.

    The training's seed is torch's when the training begins, and that of the checkpoint when it is resumed. After the training,
    torch, numpy and random are as they were before. Random numbers in workers that persist from epoch to epoch are not covered.
    """

    def __init__(self) -> None:
        self._place: dict[str, int] = {}  # where the training is; empty before it begins
        self._epoch_is_seeded = False
        self._isolation = ExitStack()

    def state_dict(self) -> dict[str, Any]:
        """Return the seed, and the epoch and batch that come next."""
        return dict(self._place)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Resume with a seed, at an epoch and batch."""
        self._place = dict(state_dict)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002 - Lightning's signature
        """Forget an earlier training."""
        self._place = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Start reading the first epoch again, now with its seed, at the batch that comes next."""
        self._isolation.enter_context(isolate_rng())
        place = self._place or {"seed": torch.initial_seed(), "epoch": trainer.current_epoch, "batch": 0}
        self._place = trainer.strategy.broadcast(place)
        self._seed_epoch(trainer)
        # Lightning has already made the iterator, for which loaders draw random numbers; the zoo's wait for the first batch.
        if not begin_anew(trainer.fit_loop, self._place["batch"]) and self._place["batch"]:
            raise CheckpointError(
                f"this Lightning cannot go on after batch {self._place['batch']} of an epoch",
                "go on from a checkpoint of the end of an epoch, or install lightning==2.6.*",
            )
        self._seed_by_rank(trainer)
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
        """Note that the next epoch comes, at its first batch."""
        self._place |= {"epoch": trainer.current_epoch + 1, "batch": 0}
        self._epoch_is_seeded = False

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Restore generators and warnings."""
        self._isolation.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Restore generators and warnings."""
        self._isolation.close()

    def _seed_epoch(self, trainer: Trainer) -> None:
        value = _mixed(self._place["seed"], self._place["epoch"], 0, 0)
        for loader in leaves(trainer.train_dataloader):
            if hasattr(loader, "sampler") and hasattr(loader.sampler, "set_epoch"):
                # Lightning counts one epoch too many when a training of max_steps goes on at the end of one.
                loader.sampler.set_epoch(self._place["epoch"])
            if isinstance(loader, DataLoader):
                # Workers take a number when they start, which is not in every epoch: it comes from this generator, not torch's.
                loader.generator = (loader.generator or torch.Generator()).manual_seed(value)
        _seed(value)
        self._epoch_is_seeded = True

    def _seed_by_rank(self, trainer: Trainer) -> None:
        """On every process but the first, seed the first batch of an epoch by rank, after reading and before augmentation.

        Lightning has no hook at this place for callbacks. The first process keeps the epoch's seed.
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
