from pathlib import Path

import pytest

from sll_zoo.files import atomic_write, obstacle, obstacle_to_file


def write_half(path):
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def test_a_file_is_replaced_only_when_the_block_ends_well(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    assert path.read_text() == "first"
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


def test_what_is_in_the_way_of_a_file_or_a_folder_is_told_and_nothing_is_made(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for free in ("folder", "new", "new/folder"):
        assert not obstacle(tmp_path / free)
        assert not obstacle_to_file(tmp_path / free / "file")
    assert not obstacle_to_file(tmp_path / "file")
    assert obstacle_to_file(tmp_path / "folder") == f"{tmp_path / 'folder'} is a folder"
    for place in ("file", "file/below"):
        assert f"{tmp_path / 'file'} is a file" in obstacle(tmp_path / place)
        assert f"{tmp_path / 'file'} is a file" in obstacle_to_file(tmp_path / place / "name")
    assert "Errno" in obstacle_to_file(Path("/proc/new/file"))
    assert sorted(tmp_path.rglob("*")) == before
