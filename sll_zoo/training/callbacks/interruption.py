"""Signals that ask a training to end: heard at once, obeyed where a checkpoint can be written, or where none is needed."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.utilities import rank_zero_only

log = logging.getLogger(__name__)


class Signals:
    """Remembers that SIGINT, SIGTERM or, under SLURM, SIGUSR1 has come.

    Lightning acts within its signal handlers: it saves in the middle of a step, and of several processes one talks to the others,
    which may be talking about something else. Here a handler only takes a note. A second SIGINT (Ctrl-C) raises KeyboardInterrupt
    at once.

    Attributes:
        received: The signal's number; 0 before there is one.
    """

    def __init__(self) -> None:
        self.received = 0

    def listen(self) -> None:
        """Take the handlers' places. Lightning gives them back when the training ends, however it ends."""
        self.received = 0
        _replace(dict.fromkeys([signal.SIGINT, *_asking()], self._note))

    def end_at_once(self, end: Callable[[int], NoReturn]) -> None:
        """Take the handlers' places where no batch is to end: before the first, and after the last. Ctrl-C needs none there.

        Args:
            end: Given the signal's number, raises :class:`~sll_zoo.errors.Interrupted`.
        """
        process = os.getpid()

        def handle(signum: int, _frame: Any) -> None:
            if os.getpid() == process:
                _replace(dict.fromkeys(_asking(), signal.SIG_IGN))
                end(signum)
            elif signum == signal.SIGTERM:  # a forked process, such as one that reads images, ends as usual
                os._exit(128 + signum)

        _replace(dict.fromkeys(_asking(), handle))

    @contextmanager
    def ending_at_once(self, end: Callable[[int], NoReturn]) -> Iterator[None]:
        """Do the same for a while, around what Lightning and :meth:`listen` put in their place for a shorter one."""
        before = {signum: signal.getsignal(signum) for signum in _asking()}
        self.end_at_once(end)
        try:
            yield
        finally:
            _replace(before)

    def _note(self, signum: int, _frame: Any) -> None:
        self.received = signum
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            rank_zero_only(log.warning)("ending with a checkpoint after this batch; Ctrl-C again ends at once")


def _asking() -> list[signal.Signals]:
    """Return the signals by which not a person but a system asks a training to end."""
    return [signal.SIGTERM, *([signal.SIGUSR1] if SLURMEnvironment.detect() else [])]


def _replace(handlers: Mapping[signal.Signals, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def requeue() -> str:
    """Ask SLURM to start the job again and return how that went, in a few words."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")
    try:
        run = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)  # noqa: S603, S607
    except OSError as error:
        return f"job {job} could not be requeued ({error})"
    if run.returncode:
        return f"job {job} could not be requeued (scontrol: {' '.join(run.stderr.split())})"
    return f"job {job} is requeued"
