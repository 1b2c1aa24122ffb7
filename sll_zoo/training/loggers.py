"""The log of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only


class OwnFolderLogger(CSVLogger):
    """Lightning's ``CSVLogger``, with a folder that is its own: of two trainings that begin at once, each takes another.

    Lightning's takes the next number that is free and makes the folder later, so that both would write to one file.

    Args:
        save_dir: As for ``CSVLogger``, and so are the others.
        name: As there.
        version: As there; by default the next number that is free.
        **kwargs: As there.
    """

    def __init__(
        self, save_dir: str | Path, name: str = "lightning_logs", version: int | str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(save_dir, name, version, **kwargs)
        self._own = version

    @property
    def version(self) -> int | str:
        """The number of the run, as it was given, or taken at the first question."""
        if self._own is None:
            self._own = self._taken(int(super().version))
        return self._own

    def _taken(self, version: int) -> int:
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
