"""The command ``sll-zoo``: Lightning's training commands and the zoo's own."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from sll_zoo.callbacks import Interrupted
from sll_zoo.commands import deploy, measure, zoo
from sll_zoo.demo import quiet_lightning, run_demo
from sll_zoo.lightning_cli import MISTAKES, TRAINING, mistake_of, train


class _Parser(argparse.ArgumentParser):
    """Argparse with errors of one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    That is 0, or 1 for a failed audit or a refuted certificate, 2 for a mistake of the user, told in one line, and 128 plus its
    number for a signal that ended a training.

    Args:
        argv: Arguments without the program's name; by default those of the process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments and arguments[0] in TRAINING:
            for written in train(arguments):
                print(f"wrote {written}")
        else:
            options = _parser().parse_args(arguments)
            return int(options.run(options) or 0)
    except (Interrupted, KeyboardInterrupt) as stop:
        signum, message = (stop.signum, stop.message) if isinstance(stop, Interrupted) else (signal.SIGINT, "interrupted")
        if message:
            print(f"sll-zoo: {message}; nothing was exported", file=sys.stderr)
        return 128 + signum
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # whoever read the output has had enough of it
    except (*MISTAKES, ValueError) as error:  # jsonargparse wraps what a constructor raises in a ValueError
        if not (mistake := mistake_of(error)):
            raise
        print(f"sll-zoo: {mistake}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="sll-zoo", description="Image classifiers whose robustness is proved.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    demo = commands.add_parser("demo", help="certify, draw and fine-tune the shipped digits classifier, in half a minute")
    demo.add_argument(
        "--picture", type=Path, default=Path("outputs/sll_nano.digits.png"), help="where the picture goes (%(default)s)"
    )
    demo.set_defaults(run=_demo)

    zoo.add_commands(commands)
    measure.add_commands(commands)
    deploy.add_commands(commands)
    for name, text in TRAINING.items():
        commands.add_parser(name, help=text)
    return parser


def _demo(options: argparse.Namespace) -> None:
    quiet_lightning()
    run_demo(options.picture)
