"""The commands ``fit``, ``validate``, ``test`` and ``predict``: LightningCLI for the zoo's networks."""

from __future__ import annotations

import json
import pickle
import re
import signal
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from lightning import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from sll_zoo import data as data_sets
from sll_zoo.cli.mistakes import mistake_of, mistakes
from sll_zoo.cli.parsers import TRAINING
from sll_zoo.cli.quiet import quiet_lightning
from sll_zoo.errors import ConfigError, Interrupted, SllZooError, UntrainedHeadWarning, WeightsError
from sll_zoo.files import atomic_write
from sll_zoo.functional.norms import norm_label
from sll_zoo.training.callbacks import ResumableCheckpoint, SavePretrained, TrainingReport, WriteCertificates
from sll_zoo.training.callbacks.defaults import with_defaults
from sll_zoo.training.checkpoint_files import defining, require_checkpoint, require_same_training, training_of
from sll_zoo.training.memory import keep_freed_memory
from sll_zoo.training.task import CertifiedClassifier

TRACEBACK = Path("outputs/traceback.txt")
WRITERS = (SavePretrained, TrainingReport, WriteCertificates)


class _CLI(LightningCLI):
    """LightningCLI that can be interrupted, reports on every training, and measures no untrained network."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Return the trainer, with each default callback unless the configuration has one of its kind."""
        options = self.config_init[self.subcommand].trainer
        given = options.callbacks or []
        callbacks = with_defaults(given if isinstance(given, list) else [given], options.enable_progress_bar is not False)
        return super().instantiate_trainer(callbacks=callbacks, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the checkpoints."""
        parser.add_lightning_class_args(ResumableCheckpoint, "checkpoints")
        self._parsers = [*getattr(self, "_parsers", []), parser]  # one for each command

    def before_instantiate_classes(self) -> None:
        """Choose the folder of the checkpoints if none is given: the logger's is new in each run, and nobody would find it."""
        options = self.config[self.subcommand]
        if not isinstance(options.model.name, str):
            raise ConfigError("model.name is a class", "give a name; from Python, CertifiedClassifier(model) takes a network")
        if options.trainer.enable_checkpointing is False:
            for parser in self._parsers:
                parser.callback_keys.remove("checkpoints")
        options.checkpoints.folder = _folder(options)

    def after_instantiate_classes(self) -> None:
        """Let copies of the task, such as the one with averaged weights, share its callables instead of copying them.

        The callables that jsonargparse makes refer to the trainer, which cannot be copied once it has started processes.
        """
        for name, value in vars(self.model).items():
            if isinstance(value, partial):
                setattr(self.model, name, _by_reference(value))

    def _parse_ckpt_path(self) -> None:
        """Take the network's arguments from the checkpoint, as Lightning does, unless ``fit`` will refuse other arguments."""
        subcommand = self.config.get("subcommand")
        options = self.config[subcommand] if subcommand else None
        if options and options.ckpt_path == "last" and subcommand != "fit":
            options.ckpt_path = str(ResumableCheckpoint(_folder(options)).last() or "last")
        path = Path(options.ckpt_path or "") if options else Path()
        if not path.is_file() or (subcommand == "fit" and training_of(path) is not None):
            return
        super()._parse_ckpt_path()
        # Published weights are not needed, and may not exist: all weights come from the checkpoint.
        model = self.config[subcommand].model
        model.head_only = model.head_only and subcommand == "fit"
        model.pretrained = model.pretrained and model.head_only

    def before_fit(self) -> None:
        """Give the checkpoints the options that define this training, and refuse a checkpoint of another training."""
        options = self.config[self.subcommand]
        written = self.parser.dump(self.config, format="json", skip_none=False, skip_check=True)
        training = defining(json.loads(written)[self.subcommand])
        for callback in self._checkpoints():
            callback.training = training
        path = self._last() if options.ckpt_path == "last" else Path(options.ckpt_path or "")
        if path and path.is_file():
            require_same_training(path, training)

    def fit(self, **arguments: Any) -> None:
        """Train; a signal before or after the batches ends the training at once."""
        with ExitStack() as stack:
            for callback in self._checkpoints():
                stack.enter_context(callback.ending_at_once(self.trainer))
            self.trainer.fit(**arguments)

    def _checkpoints(self) -> list[ResumableCheckpoint]:
        return [callback for callback in self.trainer.checkpoint_callbacks if isinstance(callback, ResumableCheckpoint)]

    def _last(self) -> Path | None:
        found = (callback.last() for callback in self._checkpoints())
        return next(filter(None, found), None)

    def _require_weights(self) -> None:
        options = self.config[self.subcommand]
        if options.ckpt_path == "last" and not self._last():
            raise WeightsError(f"no checkpoint in {options.checkpoints.folder}", "fit first, or name one: --ckpt_path FILE")
        if not options.ckpt_path and not options.model.pretrained:
            raise WeightsError(
                f"{self.subcommand} of an untrained {options.model.name}", "give --ckpt_path or --model.pretrained true"
            )

    before_validate = before_test = before_predict = _require_weights

    @rank_zero_only
    def _say_norm(self) -> None:
        """Say what the radii of the table are measured in, which the names of metrics do not."""
        print(f"Radii are in {norm_label(self.model.model.norm)}, in pixels of [0, 1]; certified_acc_N is at a radius of N/255.")

    after_validate = after_test = _say_norm


def _folder(options: Any) -> str:
    """Return the folder of the checkpoints: the one that is given, or else one named after the model."""
    return options.checkpoints.folder or f"outputs/{re.sub(r'[^-.0-9A-Za-z_]', '_', str(options.model.name))}/checkpoints"


def _by_reference(make: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls ``make``; unlike ``make``, a function is shared by copies of the task."""
    return lambda *args: make(*args)


def _failure(command: str, error: Exception) -> SllZooError:
    """Write the traceback of an error to a file, and return an error of one line for the user."""
    if re.search("Connection (closed|reset) by peer", str(error)):
        return SllZooError("another process of this training has ended", "see what it says")
    rank = getattr(rank_zero_only, "rank", 0)
    path = TRACEBACK.with_suffix(f".{rank}.txt") if rank else TRACEBACK
    with atomic_write(path) as temporary:
        temporary.write_text("".join(traceback.format_exception(error)), "utf-8")
    return SllZooError(f"{command} failed: {type(error).__name__}: {error}"[:400], f"see {path}")


def train(arguments: list[str]) -> list[str]:
    """Run one of ``TRAINING``, the first of the arguments, and return a line for everything that was written.

    Raises:
        SllZooError, ArgumentError, MisconfigurationException, OSError: A mistake of the user.
        Interrupted: The training was asked to end.
        KeyboardInterrupt: The training was interrupted at once.
    """
    require_checkpoint(arguments)
    keep_freed_memory()  # for good: glibc does not say what was set before
    # UntrainedHeadWarning is silenced for ``fit``, which is about to train the head.
    with quiet_lightning(*([UntrainedHeadWarning] if arguments[0] == "fit" else [])):
        callbacks = run_lightning(arguments).trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it without declaring it
    return [callback.written for callback in callbacks if isinstance(callback, WRITERS) and callback.written]


def run_lightning(arguments: list[str]) -> _CLI:
    """Run one of ``TRAINING``, tell mistakes and interruptions from failures, and return LightningCLI with its ``trainer``."""
    for name in dir(data_sets):
        getattr(data_sets, name)  # imports it: the command line knows classes that are imported by their names
    try:
        return _CLI(
            CertifiedClassifier,
            LightningDataModule,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"prog": "sll-zoo", "exit_on_error": False, **{name: {"exit_on_error": False} for name in TRAINING}},
            trainer_defaults={
                "logger": {"class_path": "sll_zoo.training.loggers.OwnFolderLogger", "init_args": {"save_dir": "outputs"}},
            },
            args=arguments,
        )
    except mistakes():
        raise
    except (ValueError, LookupError, TypeError, RuntimeError, ArithmeticError, pickle.UnpicklingError) as error:
        # These errors may be anything of a training, from a wrong option to a foreign checkpoint.
        if mistake_of(error):
            raise
        raise _failure(arguments[0], error) from error
    except SIGTERMException:  # Lightning's, for a signal before the training began
        raise Interrupted(signal.SIGTERM, "interrupted by SIGTERM; no checkpoint was written") from None
    except SystemExit as stop:
        if stop.code != 1:
            raise
        raise KeyboardInterrupt from None  # Lightning ends an interrupted training with status 1
