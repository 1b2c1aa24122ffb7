"""The command ``sll-zoo``: Lightning's training commands and the zoo's own."""

from __future__ import annotations

import os
import pkgutil
import signal
import sys
from collections.abc import Sequence

from sll_zoo.cli.mistakes import mistake_of, suspects
from sll_zoo.cli.parsers import TRAINING, command_line
from sll_zoo.errors import Interrupted


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    The status is 0; or 1 for a failed audit or a refuted certificate, 2 for a mistake of the user, which is printed in one line,
    and 128 plus the signal's number for a signal that ended the command.

    Args:
        argv: Arguments without the program's name; by default those of the process.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if arguments and arguments[0] in TRAINING:
            from sll_zoo.cli.training import train

            for written in train(arguments):
                print(f"wrote {written}")
        else:
            options = vars(command_line(arguments).parse_args(arguments))
            run = pkgutil.resolve_name(f"sll_zoo.cli.{options.pop('run')}")
            return int(run(**options) or 0)
    except (Interrupted, KeyboardInterrupt) as stop:
        signum, message = (stop.signum, stop.message) if isinstance(stop, Interrupted) else (signal.SIGINT, "interrupted")
        if message:
            print(f"sll-zoo: {message}; nothing was saved", file=sys.stderr)
        return 128 + signum
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of the output has closed it
    except suspects() as error:
        if not (mistake := mistake_of(error)):
            raise
        print(f"sll-zoo: {mistake}", file=sys.stderr)
        return 2
    return 0
