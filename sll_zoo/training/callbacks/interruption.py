"""Signals that ask a training to end: noted at once, and obeyed where a checkpoint can be written or none is needed."""

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

    Lightning acts inside its signal handlers: it saves in the middle of a step, and one of several processes starts a collective
    operation while the others may be in another one. Here a handler only notes the signal. A second SIGINT (Ctrl-C) raises
    KeyboardInterrupt at once.

    Attributes:
        received: The signal's number; 0 before there is one.
    """

    def __init__(self) -> None:
        self.received = 0

    def listen(self) -> None:
        """Install handlers that note a signal. Lightning restores the earlier ones when the training ends, however it ends."""
        self.received = 0
        _replace(dict.fromkeys([signal.SIGINT, *_asking()], self._note))

    def end_at_once(self, end: Callable[[int], NoReturn]) -> None:
        """Install handlers that end at once, for use before the first batch and after the last; Ctrl-C needs none there.

        Args:
            end: Takes the signal's number and raises :class:`~sll_zoo.errors.Interrupted`.
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
        """Install the handlers of :meth:`end_at_once` for a block, in which Lightning and :meth:`listen` may replace them."""
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
    """Return the signals by which the system, not a person, asks a training to end."""
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
