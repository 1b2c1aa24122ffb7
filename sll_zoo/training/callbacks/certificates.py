"""Writing the certificate of each image into a table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from sll_zoo.errors import ConfigError
from sll_zoo.files import obstacle_to_file
from sll_zoo.functional.norms import norm_label, norm_of
from sll_zoo.reports.samples import write_samples


class WriteCertificates(BasePredictionWriter):
    """When ``predict`` has ended, write a CSV file with the index, class and radius of each image; one file for each process.

    The format is that of :func:`~sll_zoo.reports.samples.write_samples`.

    Args:
        path: The file; with several processes, each puts its rank before the suffix.

    Attributes:
        written: Path of the file that was written; empty until then.

    Raises:
        ConfigError: A path that cannot be written to.
    """

    def __init__(self, path: str = "outputs/certificates.csv") -> None:
        super().__init__("epoch")
        self.path = Path(path)
        self.written = ""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002 - Lightning's signature
        """Check, before any image is certified, that the file can be written."""
        if stage == "predict" and (problem := obstacle_to_file(self.path)):
            raise ConfigError(problem, "name a file that can be written (path of WriteCertificates)")

    def write_on_epoch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Write the file."""
        path = self.path if trainer.world_size == 1 else self.path.with_suffix(f".{trainer.global_rank}{self.path.suffix}")
        # batch_indices has a list for each data loader, here for one; predictions of one loader come without such a list.
        index = chain.from_iterable(batch_indices[0])
        prediction, radius = (
            [value for batch in predictions for value in batch[name].tolist()] for name in ("prediction", "radius")
        )
        write_samples(path, index, prediction, radius, norm_label(norm_of(pl_module.model)))
        self.written = str(path)
