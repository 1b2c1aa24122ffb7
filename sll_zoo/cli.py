"""The command ``sll-zoo``: Lightning's training commands and the zoo's own."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch
from jsonargparse import ArgumentError
from lightning import LightningDataModule
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningCLI
from rich.progress import track

from sll_zoo.callbacks import ExportModel, WriteCertificates
from sll_zoo.data import Digits
from sll_zoo.demo import print_evaluation, quiet_lightning, run_demo
from sll_zoo.errors import SllZooError, WeightsError
from sll_zoo.evaluation import evaluate
from sll_zoo.files import written_whole
from sll_zoo.plot import plot_certified_accuracy
from sll_zoo.tasks import CertifiedClassifier
from sll_zoo.zoo import create_model, list_models
from sll_zoo.zoo.card import describe
from sll_zoo.zoo.entries import TAGS
from sll_zoo.zoo.record import read_records

DATA = {"digits": Digits}
TRACEBACK = Path("outputs/traceback.txt")
# What a user can cause, the most telling first.
MISTAKES = (SllZooError, ArgumentError, MisconfigurationException, OSError)
TRAINING = {
    "fit": "train a network from a YAML configuration (LightningCLI)",
    "validate": "measure a checkpoint on the validation images",
    "test": "measure clean and certified accuracy of a checkpoint on the held-out images",
    "predict": "certify the held-out images with a checkpoint and write each one's class and radius",
}


class _Parser(argparse.ArgumentParser):
    """Argparse with errors of one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0, or 2 for a mistake of the user, told in one or two lines.

    Args:
        argv: Arguments without the program's name; by default those of the process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments and arguments[0] in TRAINING:
            _train(arguments)
        else:
            options = _parser().parse_args(arguments)
            options.run(options)
    except KeyboardInterrupt:
        print("sll-zoo: interrupted; nothing was exported", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read the output has had enough of it
    except (*MISTAKES, ValueError) as error:  # jsonargparse wraps what a constructor raises in a ValueError
        if not (mistake := _mistake(error)):
            raise
        print(f"sll-zoo: {mistake}", file=sys.stderr)
        return 2
    return 0


def _mistake(error: BaseException | None) -> str:
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


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sll-zoo", description="Image classifiers whose robustness is proved.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    demo = commands.add_parser("demo", help="certify, draw and fine-tune the shipped digits classifier, in half a minute")
    demo.add_argument(
        "--picture", type=Path, default=Path("outputs/sll_nano.digits.png"), help="where the picture goes (%(default)s)"
    )
    demo.set_defaults(run=_demo)

    listing = commands.add_parser("list", help="list the models")
    listing.add_argument("--pretrained", action="store_true", help="only those with weights, and what they reach")
    listing.set_defaults(run=_list)

    certify = commands.add_parser("certify", help="measure clean and certified accuracy of a model")
    certify.add_argument(
        "model", metavar="MODEL", help="a name of `sll-zoo list --pretrained`, hf-hub:org/name[@revision], or local-dir:path"
    )
    certify.add_argument("data", metavar="DATA", choices=DATA, help=f"held-out images of: {', '.join(DATA)}")
    certify.add_argument("--picture", type=Path, help="also draw certified accuracy against radius, as PNG")
    certify.set_defaults(run=_certify)

    for name, text in TRAINING.items():
        commands.add_parser(name, help=text)
    return parser


def _demo(options: argparse.Namespace) -> None:
    quiet_lightning()
    run_demo(options.picture)


def _list(options: argparse.Namespace) -> None:
    if not options.pretrained:
        for name in list_models():
            print(f"{name:17} {', '.join(TAGS[name])}")
        return
    for name, record in read_records().items():
        print(f"{name}: {describe(record)}")


def _certify(options: argparse.Namespace) -> None:
    model = create_model(options.model, pretrained=True).eval()
    data = DATA[options.data]()
    data.setup("test")
    evaluation = evaluate(model, track(list(data.test_dataloader()), f"certifying {options.data}"))
    print_evaluation(evaluation)
    if options.picture:
        path = plot_certified_accuracy(
            {options.model: evaluation}, f"{options.data}, {evaluation.n} held-out images", options.picture
        )
        print(f"certified accuracy against radius: {path}")


class _CLI(LightningCLI):
    """LightningCLI that measures no untrained network."""

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


def _train(arguments: list[str]) -> None:
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
        if _mistake(error):
            raise
        with written_whole(TRACEBACK) as temporary:
            temporary.write_text(traceback.format_exc(), "utf-8")
        raise SllZooError(f"{arguments[0]} failed: {type(error).__name__}: {error}"[:400], f"see {TRACEBACK}") from error
    except SystemExit as stop:
        if stop.code != 1:
            raise
        raise KeyboardInterrupt from None  # Lightning ends an interrupted training with status 1
    for callback in vars(cli.trainer)["callbacks"]:
        if isinstance(callback, ExportModel | WriteCertificates) and callback.written:
            print(f"wrote {callback.written}")
