"""Checkpoints from which an interrupted training is resumed."""

from __future__ import annotations

import shutil
import signal
import time
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from filelock import FileLock, Timeout
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_only

from sll_zoo.errors import CheckpointError, Interrupted
from sll_zoo.files import obstacle
from sll_zoo.training.callbacks.interruption import Signals, requeue
from sll_zoo.training.checkpoint_files import TRAINING_KEY, WholeCheckpointIO, has_ended

# Vote of a rank after a batch: NOTHING, SAVE, or the number of a signal.
NOTHING, SAVE = -1, 0


class ResumableCheckpoint(ModelCheckpoint):
    """Write ``last.ckpt`` at the end of every epoch, every few minutes, and when the training is asked to end.

    ``ckpt_path="last"`` goes on from the newest one in the folder. With :class:`~sll_zoo.training.callbacks.SeededBatches` and
    Lightning's ``deterministic``, the weights in the end are those of an uninterrupted training, on the CPU to the last bit.

    SIGTERM, SIGINT (Ctrl-C) and, under SLURM, SIGUSR1 let the batch end, write a checkpoint and raise
    :class:`~sll_zoo.errors.Interrupted`; SIGUSR1 asks SLURM to start the job again, too. A signal during a
    validation waits for its end. Before the first batch and, on the command line, while data are read and a network is saved,
    SIGTERM and SIGUSR1 end at once, with the checkpoints as they are.

    A new training leaves the checkpoint of an earlier one where it is, and writes ``last-v1.ckpt`` and so on. While a training
    runs, no other can write to its folder.

    Args:
        folder: Folder of the checkpoints; by default inside the logger's folder.
        minutes: Time between two checkpoints in the middle of an epoch.

    Attributes:
        training: Options that define the training (:func:`sll_zoo.training.checkpoint_files.defining`), which its checkpoints
            keep; empty for a training from Python.

    Raises:
        CheckpointError: Another training writes to the folder, or the folder cannot be written to.
    """

    def __init__(self, folder: str | None = None, minutes: float = 10.0) -> None:
        super().__init__(dirpath=folder, save_last=True, save_top_k=0)
        self.minutes = minutes
        self.training: dict[str, Any] = {}
        self._signals = Signals()
        self._lock: FileLock | None = None
        self._step = 0

    def last(self) -> Path | None:
        """Return the newest checkpoint in the folder."""
        found = Path(str(self.dirpath)).glob(f"{self.CHECKPOINT_NAME_LAST}*{self.FILE_EXTENSION}")
        return max(found, key=lambda path: path.stat().st_mtime, default=None)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Lock the folder, before any work."""
        super().setup(trainer, pl_module, stage)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpointIO()
        if stage == "fit" and not trainer.fast_dev_run:  # type: ignore[attr-defined]  # Lightning sets it without declaring it
            problem = self._take_folder() if trainer.is_global_zero else None
            if problem := trainer.strategy.broadcast(problem):
                raise CheckpointError(problem, "give this training a folder of its own: --checkpoints.folder FOLDER")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Add the options that define the training to a checkpoint."""
        if self.training:
            checkpoint[TRAINING_KEY] = self.training

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Load the final weights of a training that had already ended.

        Lightning then runs no hooks of the training, not even the last one, in which callbacks put averaged weights into the
        network. The ``state_dict`` of the checkpoint has these weights.
        """
        if has_ended(checkpoint, trainer):
            pl_module.load_state_dict(checkpoint["state_dict"])

    def ending_at_once(self, trainer: Trainer) -> AbstractContextManager[None]:
        """Return a context in which a signal ends the training at once, except during its batches."""
        return self._signals.ending_at_once(partial(self._end, trainer))

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Let a signal end the check at once: Lightning's handlers would write a checkpoint of their own."""
        self._signals.end_at_once(partial(self._end, trainer))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start to note signals, which end the training after a batch."""
        super().on_train_start(trainer, pl_module)
        self._step = trainer.global_step
        self._saved = time.monotonic()
        self._signals.listen()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:  # noqa: ARG002
        """Write a checkpoint when it is time or when the training is to end, but not between accumulated gradients."""
        if trainer.is_last_batch or trainer.global_step == self._step:
            return  # the end of the epoch writes one, or gradients are still being accumulated
        self._step = trainer.global_step
        vote = self._agree(trainer)
        if vote != NOTHING:
            self._save(trainer)
        if vote > SAVE:
            self._end(trainer, vote)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Write a checkpoint, and end the training if it is to end."""
        self._save(trainer)
        if (vote := self._agree(trainer)) > SAVE:
            self._end(trainer, vote)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write nothing: the end of the epoch or of the next batch writes a checkpoint."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write nothing: the end of the last epoch has written a checkpoint."""

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Unlock the folder."""
        self._leave_folder()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002 - Lightning's signature
        """Unlock the folder."""
        self._leave_folder()

    def _agree(self, trainer: Trainer) -> int:
        """Return the largest vote of all processes, so that they write a checkpoint and end together."""
        due = time.monotonic() - self._saved >= 60 * self.minutes
        vote = self._signals.received or (SAVE if due else NOTHING)
        if trainer.world_size == 1:
            return vote
        return int(trainer.strategy.reduce(torch.tensor(vote, device=trainer.strategy.root_device), reduce_op="max"))

    def _save(self, trainer: Trainer) -> None:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            # The path is set before saving, since it is part of the checkpoint.
            self.last_model_path = self.last_model_path or self._free_path(trainer)
            trainer.save_checkpoint(self.last_model_path)
            for logger in trainer.loggers if trainer.is_global_zero else ():
                logger.after_save_checkpoint(self)
            self._saved = time.monotonic()

    def _free_path(self, trainer: Trainer) -> str:
        """Return the first of ``last.ckpt``, ``last-v1.ckpt`` and so on that does not exist."""
        version = None
        while self.file_exists(path := self.format_checkpoint_name({}, self.CHECKPOINT_NAME_LAST, ver=version), trainer):
            version = (version or 0) + 1
        return path

    def _end(self, trainer: Trainer, signum: int) -> NoReturn:
        if getattr(rank_zero_only, "rank", 0) or not trainer.is_global_zero:
            raise Interrupted(signum, "")
        path = self.last() if trainer.global_step else None
        rest = f"go on from {path} with --ckpt_path last" if path else "no checkpoint was written"
        if signum == signal.SIGUSR1:
            rest = f"{requeue()}; {rest}"
        raise Interrupted(signum, f"interrupted by {signal.Signals(signum).name}; {rest}")

    def _take_folder(self) -> str | None:
        """Lock the folder and remove files that a killed training left unfinished; return why that fails, or None."""
        folder = Path(str(self.dirpath))
        if problem := obstacle(folder):
            return problem
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return f"another training is writing to {folder}"
        except OSError as error:  # such as a lock file of another user
            return f"{folder} cannot be written to ({error})"
        for left_over in folder.glob(".*.ckpt-*"):
            shutil.rmtree(left_over)
        return None

    def _leave_folder(self) -> None:
        if self._lock:
            self._lock.release()
