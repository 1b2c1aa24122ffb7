"""The log of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities import rank_zero_only


class OwnFolderLogger(CSVLogger):
    """Lightning's ``CSVLogger`` with a folder of its own: two trainings that begin at the same time take different folders.

    Lightning's logger takes the next free number and makes the folder later, so that both would write to one file.

    Args:
        save_dir: As for ``CSVLogger``.
        name: As for ``CSVLogger``.
        version: As for ``CSVLogger``; by default the next free number.
        **kwargs: As for ``CSVLogger``.
    """

    def __init__(
        self, save_dir: str | Path, name: str = "lightning_logs", version: int | str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(save_dir, name, version, **kwargs)
        self._own = version

    @property
    def version(self) -> int | str:
        """The number of the run: the given one, or the next free one, which is taken when it is first asked for."""
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
