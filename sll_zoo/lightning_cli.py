"""LightningCLI for the zoo's networks, with a user's mistakes told apart from the program's."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError
from lightning import Callback, LightningDataModule, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningCLI

from sll_zoo.callbacks import ExportModel, ImageProgressBar, LogDiagnostics, TrainingReport, WriteCertificates
from sll_zoo.demo import quiet_lightning
from sll_zoo.errors import SllZooError, WeightsError
from sll_zoo.files import written_whole
from sll_zoo.tasks import CertifiedClassifier

TRAINING = {
    "fit": "train a network from a YAML configuration (LightningCLI)",
    "validate": "measure a checkpoint on the validation images",
    "test": "measure clean and certified accuracy of a checkpoint on the held-out images",
    "predict": "certify the held-out images with a checkpoint and write each one's class and radius",
}
TRACEBACK = Path("outputs/traceback.txt")
WRITERS = (ExportModel, TrainingReport, WriteCertificates)
# What a user can cause, the most telling first.
MISTAKES = (SllZooError, ArgumentError, MisconfigurationException, OSError, ModuleNotFoundError)


def mistake_of(error: BaseException | None) -> str:
    """Return in one line what the user did wrong, or nothing if the fault is not the user's."""
    chain = []
    while error:
        chain.append(error)
        error = error.__cause__ or error.__context__
    for kind in MISTAKES:
        for link in chain:
            if isinstance(link, kind):
                return " ".join(str(link).split())[:500]
    return ""


class _CLI(LightningCLI):
    """LightningCLI that measures no untrained network, and reports on every training."""

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Return the trainer, with diagnostics, report and progress bar where the configuration has none of its own."""
        options = self.config_init[self.subcommand].trainer
        given = options.callbacks or []
        callbacks: list[Callback] = list(given) if isinstance(given, list) else [given]
        wanted: list[tuple[type[Callback], type[Callback]]] = [
            (LogDiagnostics, LogDiagnostics),
            (TrainingReport, TrainingReport),  # after those that log
        ]
        if options.enable_progress_bar is not False:
            wanted.append((ProgressBar, ImageProgressBar))
        callbacks += [ours() for kind, ours in wanted if not any(isinstance(callback, kind) for callback in callbacks)]
        return super().instantiate_trainer(callbacks=callbacks, **kwargs)

    def _require_weights(self) -> None:
        options = self.config[self.subcommand]
        if not options.ckpt_path and not options.model.pretrained:
            raise WeightsError(
                f"{self.subcommand} of an untrained {options.model.name}", "give --ckpt_path or --model.pretrained true"
            )

    before_validate = before_test = before_predict = _require_weights


def _require_checkpoint(arguments: list[str]) -> None:
    """Read a --ckpt_path before anything else does, and refuse what is no checkpoint of a CertifiedClassifier."""
    for option, value in zip(arguments, [*arguments[1:], ""], strict=True):
        name, _, path = option.partition("=")
        if name != "--ckpt_path" or not Path(path or value).is_file():
            continue
        try:
            keys = torch.load(path or value, map_location="meta", weights_only=True).keys()
        except (AttributeError, RuntimeError, LookupError, ValueError, EOFError, pickle.UnpicklingError):
            keys = ()
        if "state_dict" not in keys or "hyper_parameters" not in keys:
            raise WeightsError(f"{path or value} is no checkpoint, or not a whole one", "give a .ckpt that `sll-zoo fit` wrote")


def train(arguments: list[str]) -> list[str]:
    """Run one of ``TRAINING``, the first of the arguments, and return what was written, a line each.

    Raises:
        SllZooError, ArgumentError, MisconfigurationException, OSError: A mistake of the user.
        KeyboardInterrupt: The training was interrupted.
    """
    _require_checkpoint(arguments)
    quiet_lightning()
    try:
        cli = _CLI(
            CertifiedClassifier,
            LightningDataModule,
            subclass_mode_data=True,
            auto_configure_optimizers=False,
            seed_everything_default=0,
            save_config_kwargs={"overwrite": True},
            parser_kwargs={"prog": "sll-zoo", "exit_on_error": False, **{name: {"exit_on_error": False} for name in TRAINING}},
            trainer_defaults={
                "callbacks": [WriteCertificates()],
                "logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "outputs"}},
            },
            args=arguments,
        )
    except MISTAKES:
        raise
    except (ValueError, LookupError, TypeError, RuntimeError, ArithmeticError, pickle.UnpicklingError) as error:
        # Of a training, anything from a wrong option to a foreign checkpoint: a line for the user, and all of it in a file.
        if mistake_of(error):
            raise
        with written_whole(TRACEBACK) as temporary:
            temporary.write_text(traceback.format_exc(), "utf-8")
        raise SllZooError(f"{arguments[0]} failed: {type(error).__name__}: {error}"[:400], f"see {TRACEBACK}") from error
    except SystemExit as stop:
        if stop.code != 1:
            raise
        raise KeyboardInterrupt from None  # Lightning ends an interrupted training with status 1
    writers = [callback for callback in vars(cli.trainer)["callbacks"] if isinstance(callback, WRITERS)]
    return [writer.written for writer in writers if writer.written]
