"""The log of a training."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sll_zoo.training.loggers import OwnFolderLogger


def test_each_of_several_loggers_at_once_takes_a_folder_of_its_own(tmp_path: Path) -> None:
    loggers = [OwnFolderLogger(tmp_path) for _ in range(8)]
    with ThreadPoolExecutor() as pool:
        folders = set(pool.map(lambda logger: logger.log_dir, loggers))
    assert len(folders) == len(loggers)
    assert all(Path(folder).is_dir() for folder in folders)


def test_a_folder_of_a_training_before_is_not_taken(tmp_path: Path) -> None:
    earlier = tmp_path / "lightning_logs" / "version_4"
    earlier.mkdir(parents=True)
    assert OwnFolderLogger(tmp_path).log_dir == str(earlier.with_name("version_5"))


def test_a_link_to_nowhere_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "outputs").symlink_to(tmp_path / "unmounted")
    with pytest.raises(FileExistsError):
        _ = OwnFolderLogger(tmp_path / "outputs").log_dir
