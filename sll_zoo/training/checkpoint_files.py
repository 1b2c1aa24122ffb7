"""Checkpoints as files: written whole or not at all, and refused if they are damaged or of another training."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from lightning import Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.trainer.states import TrainerFn

from sll_zoo.errors import CheckpointError
from sll_zoo.files import DAMAGE, atomic_write
from sll_zoo.zoo.weights.reading import read_checkpoint

# Key of a checkpoint for the options that its weights depend on, and which of the trainer's options these are.
TRAINING_KEY = "sll_zoo_training"
OF_THE_TRAINER = (
    "max_epochs",
    "max_steps",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "precision",
    "limit_train_batches",
    "overfit_batches",
)
# Options of data modules that say how images are read, not which images.
OF_THE_MACHINE = {"num_workers", "in_memory", "download"}


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place, waits until it is on the disk, and renames it.

    Lightning writes to the system's folder for temporary files first and copies the file from there to its disk; a process that
    is killed during the copy leaves half a file. The checkpoint that is replaced stays, as ``before-last.ckpt`` beside
    ``last.ckpt``, where the file system has hard links.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:  # noqa: ARG002
        """Write a checkpoint.

        Raises:
            CheckpointError: The disk is full, or the folder cannot be written to; what was there before is as it was.
        """
        path = Path(path)
        try:
            with atomic_write(path) as temporary:
                with temporary.open("wb") as file:
                    torch.save(checkpoint, file)
                    file.flush()
                    os.fsync(file.fileno())
                with suppress(OSError):
                    _link(path, temporary.with_name("before"), before(path))
        except (OSError, RuntimeError) as error:
            # torch's writer wraps the system's error in one of its own.
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            kept = ", and is still that of an earlier moment" if path.is_file() else ""
            raise CheckpointError(
                f"{path} could not be written ({cause}){kept}",
                "make room or mend the folder, then go on with --ckpt_path last",
            ) from error

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return the checkpoint.

        Raises:
            CheckpointError: A file that is no checkpoint, or is damaged.
        """
        try:
            return super().load_checkpoint(path, *args, **kwargs)
        except DAMAGE as error:
            raise CheckpointError(f"{path} is no checkpoint, or not a whole one", _remedy(Path(path))) from error


def has_ended(checkpoint: dict[str, Any], trainer: Trainer) -> bool:
    """Return whether a trainer is to fit from a checkpoint of the last step: only hooks at the end, such as saving, remain."""
    if trainer.state.fn != TrainerFn.FITTING:
        return False
    epochs: int = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    steps: int = checkpoint["global_step"]
    return 0 <= (trainer.max_epochs or -1) <= epochs or 0 <= trainer.max_steps <= steps


def defining(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of ``fit``, as JSON has them, that the trained weights depend on.

    Example:
        >>> defining({"model": {"name": "sll_nano"}, "trainer": {"max_epochs": 3, "devices": 2}, "ckpt_path": "last"})
        {'model': {'name': 'sll_nano'}, 'trainer': {'max_epochs': 3}}
    """
    defined: dict[str, Any] = {name: options[name] for name in ("seed_everything", "model", "data", "trainer") if name in options}
    defined["trainer"] = {name: value for name, value in options["trainer"].items() if name in OF_THE_TRAINER}
    if arguments := options.get("data", {}).get("init_args"):
        which = {name: value for name, value in arguments.items() if name not in OF_THE_MACHINE}
        defined["data"] = {**options["data"], "init_args": which}
    return defined


def training_of(path: Path) -> dict[str, Any] | None:
    """Return the options that define the training of a checkpoint; None if it has none, as after a training from Python.

    Raises:
        CheckpointError: A file that is no checkpoint.
    """
    return WholeCheckpointIO().load_checkpoint(path, map_location="meta").get(TRAINING_KEY)


def require_same_training(path: Path, training: dict[str, Any]) -> None:
    """Refuse to resume from a checkpoint of a training with other options than those that :func:`defining` returned.

    Raises:
        CheckpointError: Another training, or a file that is no checkpoint.
    """
    kept = training_of(path)
    if kept is not None and (found := difference(kept, training)):
        raise CheckpointError(
            f"{path} is of another training, with {found}",
            f"set it back; or start a new training from its weights: --model.name ckpt:{path} --model.pretrained true; "
            "or train anew: without --ckpt_path, or in another folder (--checkpoints.folder FOLDER)",
        )


def require_checkpoint(arguments: Sequence[str]) -> None:
    """Refuse a --ckpt_path that is no checkpoint of a CertifiedClassifier, before anything else reads it."""
    for option, value in zip(arguments, [*arguments[1:], ""], strict=True):
        name, _, path = option.partition("=")
        if name == "--ckpt_path" and Path(path or value).is_file():
            read_checkpoint(Path(path or value), map_location="meta")


def before(path: Path) -> Path:
    """Return where the checkpoint that ``path`` has replaced is kept."""
    return path.with_name(f"before-{path.name}")


def _link(path: Path, temporary: Path, link: Path) -> None:
    """Give a file a second name, atomically."""
    temporary.hardlink_to(path)
    temporary.replace(link)


def _remedy(path: Path) -> str:
    if before(path).is_file():
        return f"go on from the one before it: --ckpt_path {before(path)}"
    return "give a .ckpt that `sll-zoo fit` wrote"


def difference(was: Any, now: Any, name: str = "") -> str:
    """Return the dotted name and the values of the first difference of nested dictionaries, or an empty text."""
    if not isinstance(was, dict) or not isinstance(now, dict):
        return "" if was == now else f"{name[1:]} {shorten(repr(was), 60)} instead of {shorten(repr(now), 60)}"
    found = (difference(was.get(key), now.get(key), f"{name}.{key}") for key in {**was, **now})
    return next(filter(None, found), "")
