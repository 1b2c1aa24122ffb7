"""The callbacks of every training by the command line, beside the checkpoints, which have options of their own there."""

from __future__ import annotations

from collections.abc import Sequence

from lightning import Callback
from lightning.pytorch.callbacks import ProgressBar

from sll_zoo.training.callbacks.certificates import WriteCertificates
from sll_zoo.training.callbacks.diagnostics import LogDiagnostics
from sll_zoo.training.callbacks.progress_bar import ImageProgressBar
from sll_zoo.training.callbacks.seeding import SeededBatches
from sll_zoo.training.callbacks.training_report import TrainingReport
from sll_zoo.training.callbacks.watch import FiniteWatch

# The report comes after what logs.
DEFAULTS = (LogDiagnostics, TrainingReport, ImageProgressBar, SeededBatches, FiniteWatch, WriteCertificates)


def with_defaults(given: Sequence[Callback], progress_bar: bool = True) -> list[Callback]:
    """Return callbacks and, of ``DEFAULTS``, those of which none is given; any progress bar takes the place of ours.

    Args:
        given: Those of the configuration.
        progress_bar: Whether there is to be one.
    """
    added = []
    for default in DEFAULTS:
        kind = ProgressBar if default is ImageProgressBar else default
        wanted = progress_bar or kind is not ProgressBar
        if wanted and not any(isinstance(callback, kind) for callback in given):
            added.append(default())
    return [*given, *added]
