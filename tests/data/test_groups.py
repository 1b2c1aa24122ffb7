"""Images of one group stay together, in whatever way groups are told."""

import numpy as np
import pytest

from sll_zoo.data import ImageFolder
from sll_zoo.data.images import split
from sll_zoo.errors import ConfigError, InputError
from tests.data.published import write_image

PATTERN = "[^_]*"


@pytest.fixture
def signs(tmp_path):
    """Two classes of 12 and 8 signs, four frames of each, numbered in every class from 0."""
    random = np.random.default_rng(0)
    for name, tracks in (("stop", 12), ("yield", 8)):
        for track in range(tracks):
            for frame in range(4):
                write_image(tmp_path / "signs" / name / f"{track:03}_{frame}.png", random, (8, 8))
    return tmp_path / "signs"


def groups_in(data, part):
    return {path.rsplit("_", 1)[0] for path, _ in data.part(part).samples}


def test_groups_are_never_divided_and_classes_stay_alike(signs):
    data = ImageFolder(str(signs), groups=PATTERN)
    data.prepare_data()
    parts = {part: groups_in(data, part) for part in ("train", "validation", "test")}
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == 20
    for part in ("validation", "test"):
        assert sorted({label for _, label in data.part(part).samples}) == [0, 1]
        assert 1 <= len(parts[part]) <= 3
    plain = ImageFolder(str(signs))
    assert groups_in(plain, "train") & groups_in(plain, "test")  # what groups are for


def test_the_same_groups_are_taken_each_time_and_a_csv_file_says_the_same(signs, tmp_path):
    data = ImageFolder(str(signs), groups=PATTERN)
    rows = [f"{path.relative_to(signs).as_posix()},{path.parent.name}/{path.name[:3]}" for path in signs.rglob("*.png")]
    (tmp_path / "groups.csv").write_text("\n".join(["file,group", *rows]))
    listed = ImageFolder(str(signs), groups=str(tmp_path / "groups.csv"))
    assert (
        data.part("test").samples == listed.part("test").samples == ImageFolder(str(signs), groups=PATTERN).part("test").samples
    )
    assert "groups" in data.held_out_arguments


def test_groups_of_several_classes_are_kept_together():
    class Source(list):
        labels = property(lambda self: [label for label, _ in self])

        def select(self, places):
            return [self[place] for place in places]

    source = Source((image % 3, f"patient {image // 7}") for image in range(210))
    kept, taken = split(source, [group for _, group in source])
    assert not {group for _, group in kept} & {group for _, group in taken}
    counts = np.bincount([label for label, _ in taken])
    assert counts.sum() == 21
    assert counts.max() - counts.min() <= 2


@pytest.mark.parametrize("groups", [2, 3, 5, 8])
def test_a_class_of_few_groups_is_in_every_part_as_long_as_there_are_groups(signs, groups):
    for path in signs.glob("yield/*.png"):
        if int(path.name[:3]) >= groups:
            path.unlink()
    data = ImageFolder(str(signs), groups=PATTERN)
    parts = {part: groups_in(data, part) for part in ("train", "validation", "test")}
    of_few = [sum("yield" in name for name in names) for names in parts.values()]
    assert of_few == [max(1, groups - 2), int(groups > 2), 1]


def test_a_group_in_two_given_parts_is_refused(signs, tmp_path):
    for part, frames in (("train", (0, 1)), ("test", (2, 3))):
        for path in signs.rglob("*.png"):
            if int(path.stem[-1]) in frames:
                to = tmp_path / "parts" / part / path.parent.name / path.name
                to.parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="the group 'stop/000' is in test and in train"):
        ImageFolder(str(tmp_path / "parts"), groups=PATTERN).prepare_data()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("file,group\nstop/000_0.png,a\n", "no group for stop/000_1.png"),
        ("file,group\nstop/000_0.png,a\nstop/000_0.png,b\n", "stop/000_0.png twice"),
        ("file,group\nstop/000_0.png\n", "line 2"),
        ("stop/000_0.png,a\n", "line 1"),
        ("", "line 1"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_named(signs, tmp_path, text, told):
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(InputError, match=told):
        ImageFolder(str(signs), groups=str(tmp_path / "groups.csv")).prepare_data()


def test_groups_that_cannot_be_had_are_refused(signs, tmp_path):
    with pytest.raises(ConfigError, match="no regular expression"):
        ImageFolder(str(signs), groups="[").prepare_data()
    with pytest.raises(InputError, match=r"finds nothing in stop/000_0\.png"):
        ImageFolder(str(signs), groups="x+").prepare_data()
    with pytest.raises(InputError, match=r"missing\.csv cannot be read"):
        ImageFolder(str(signs), groups=str(tmp_path / "missing.csv")).prepare_data()
    with pytest.raises(InputError, match="1 groups: none is left"):
        ImageFolder(str(signs), groups="[_]").prepare_data()


def test_a_csv_file_as_other_programs_write_it_says_the_same(signs, tmp_path):
    rows = [f"{path.relative_to(signs).as_posix()},{path.name[:3]}" for path in signs.rglob("*.png")]
    (tmp_path / "groups.csv").write_text("\r\n".join(["file,group", *rows, "", ""]), "utf-8-sig")
    listed = ImageFolder(str(signs), groups=str(tmp_path / "groups.csv"))
    pattern = ImageFolder(str(signs), groups="(?<=/)[^_]*")  # signs of the same number in both classes are one group
    assert listed.part("test").samples == pattern.part("test").samples


def test_groups_that_keep_nothing_together_are_warned_of(signs, caplog):
    ImageFolder(str(signs), groups=".*").prepare_data()
    assert "80 images" in caplog.text
    caplog.clear()
    ImageFolder(str(signs), groups=PATTERN).prepare_data()
    assert not caplog.text


def test_a_folder_does_not_take_the_name_of_a_published_data_set(signs):
    assert ImageFolder(str(signs)).name == "signs"
    assert ImageFolder(str(signs.rename(signs.with_name("cifar100")))).name == "folder-cifar100"
