"""Which folders are taken for classes, and which for parts."""

import numpy as np
import pytest

from sll_zoo.data import ImageFolder, open_data
from sll_zoo.errors import InputError
from tests.data.published import write_image


@pytest.fixture
def write(tmp_path):
    """Give a function that writes ten images into each of the folders that it is told, and returns the root."""
    random = np.random.default_rng(0)

    def into(*folders):
        for folder in folders:
            for index in range(10):
                write_image(tmp_path / "mine" / folder / f"{index}.png", random, (4, 4))
        return tmp_path / "mine"

    return into


def of_both(*parts):
    return [f"{part}/{name}" for part in parts for name in ("bird", "cat")]


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (of_both("train", "valid"), "mine/valid .*neither"),
        (of_both("train", "valid", "test"), "mine/valid .*neither"),
        (of_both("train", "validation"), "mine/validation .*neither"),
        (of_both("Train", "Test"), "mine/Test .*neither"),
        (of_both("train", "TEST"), "mine/TEST .*neither"),
        (of_both("test"), "mine/test .*mine/train"),
        (of_both("val", "test"), "mine/val .*mine/train"),
        (["train", "test"], "mine/train/cat/1.png"),
        (of_both("training", "testing"), "mine/testing .*folders"),
        (of_both("images"), "mine/images .*folders"),
        (of_both("train/images", "val/images"), "train/images .*folders"),
        ([*of_both("train", "val"), "val/cat2/more"], "val/cat2 .*folders"),
    ],
)
def test_folders_that_may_be_meant_for_parts_are_no_classes(write, folders, message):
    root = write(*folders)
    with pytest.raises(InputError, match=message):
        ImageFolder(str(root)).prepare_data()
    with pytest.raises(InputError, match=message):
        open_data(str(root), (3, 4, 4), 2)


def test_what_is_hidden_is_neither_class_nor_image(write, caplog):
    hidden = ["test/.ipynb_checkpoints", "train/.cache/more", "train/cat/.ipynb_checkpoints"]
    root = write(*of_both("train", "test"), *hidden)
    for name in ("train/cat/._1.png", "train/cat/.cache/notes.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("not an image")
    assert len(open_data(str(root), (3, 4, 4), 2)) == 20
    data = ImageFolder(str(root), in_memory=True)
    data.prepare_data()
    assert [len(data.part(part)) for part in ("train", "validation", "test")] == [18, 2, 20]
    assert (data.class_names, caplog.messages) == (("bird", "cat"), [])


def test_train_alone_is_divided_like_a_folder_without_parts(write):
    data = ImageFolder(str(write(*of_both("train"))), in_memory=True)
    counts = {part: data.tensors(part)[1].bincount().tolist() for part in ("train", "validation", "test")}
    assert counts == {"train": [8, 8], "validation": [1, 1], "test": [1, 1]}
    assert data.class_names == ("bird", "cat")
    plain = ImageFolder(str(data.root / "train"), in_memory=True)
    assert plain.fingerprint() == data.fingerprint()
    assert len(open_data(str(data.root), (3, 4, 4), 2)) == 20


def test_a_class_may_have_folders_beside_its_images(write):
    data = ImageFolder(str(write("bird", "cat", "cat/indoors")))
    data.prepare_data()
    assert [data.class_names, sum(len(data.part(part)) for part in ("train", "validation", "test"))] == [("bird", "cat"), 30]


def test_files_that_are_no_images_by_their_names_are_counted_once(write, caplog):
    root = write("train/bird", "train/cat", "test/bird", "test/cat")
    for name in ("a.HEIC", "b.heic", "labels.txt", "c", ".hidden.heic", ".DS_Store", "Thumbs.db"):
        (root / "train" / "cat" / name).touch()
    (root / "test" / "cat" / "d.heic").touch()
    data = ImageFolder(str(root), num_workers=0)
    data.prepare_data()
    data.setup()
    (told,) = caplog.messages
    assert told.startswith("5 ")
    assert "(.heic: 3, .txt: 1, no suffix: 1)" in told
    caplog.clear()
    open_data(str(root), (3, 4, 4), 2)
    (told,) = caplog.messages
    assert "(.heic: 1)" in told


def test_nothing_is_said_of_folders_of_images_alone(write, caplog):
    root = write("bird", "cat")
    (root / "bird" / ".DS_Store").touch()
    ImageFolder(str(root)).prepare_data()
    open_data(str(root), (3, 4, 4), 2)
    assert not caplog.records
