"""The log of a training."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only


class OwnFolderLogger(CSVLogger):
    """Lightning's ``CSVLogger``, with a folder that is its own: of two trainings that begin at once, each takes another.

    Lightning's takes the next number that is free and makes the folder later, so that both would write to one file.
    """

    def _get_next_version(self) -> int:
        version: int = super()._get_next_version()
        if getattr(rank_zero_only, "rank", 0):
            return version  # the other processes of a training write nothing
        root = Path(self.root_dir)
        root.mkdir(parents=True, exist_ok=True)
        while True:
            try:
                (root / f"version_{version}").mkdir()
            except FileExistsError:
                version += 1
            else:
                return version
