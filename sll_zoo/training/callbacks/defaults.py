"""The callbacks of every training by the command line, besides ``ResumableCheckpoint``, which has options of its own there."""

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

# TrainingReport comes after LogDiagnostics, so that it has the logged values.
DEFAULTS = (LogDiagnostics, TrainingReport, ImageProgressBar, SeededBatches, FiniteWatch, WriteCertificates)


def with_defaults(given: Sequence[Callback], progress_bar: bool = True) -> list[Callback]:
    """Return the given callbacks, and each of ``DEFAULTS`` unless one of its kind is given; any progress bar replaces ours.

    Args:
        given: Callbacks of the configuration.
        progress_bar: Whether to add a progress bar.
    """
    added = []
    for default in DEFAULTS:
        kind = ProgressBar if default is ImageProgressBar else default
        wanted = progress_bar or kind is not ProgressBar
        if wanted and not any(isinstance(callback, kind) for callback in given):
            added.append(default())
    return [*given, *added]
