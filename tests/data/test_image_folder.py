from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sll_zoo.data import ImageFolder, open_data
from sll_zoo.errors import ConfigError, InputError
from tests.data.published import write_image

CLASSES = ("bird", "cat")


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.fixture
def write(tmp_path, random):
    """Give a function that writes n images of each class into a folder, and returns the folder."""

    def into(name, n=20, classes=CLASSES, **options):
        for label in classes:
            for index in range(n):
                write_image(tmp_path / name / label / f"{index:02}.png", random, **{"size": (6, 8), **options})
        return tmp_path / name

    return into


def parts(root, **options):
    """Return how many images of each class are in each part."""
    data = ImageFolder(str(root), num_workers=0, **options)
    data.prepare_data()
    data.setup()
    return {part: data.tensors(part)[1].bincount().tolist() for part in ("train", "validation", "test")}


def test_class_folders_alone_are_divided_once_and_for_all(write):
    root = write("mine", 20)
    assert parts(root) == {"train": [16, 16], "validation": [2, 2], "test": [2, 2]}
    first, again = ImageFolder(str(root)), ImageFolder(str(root), in_memory=True)
    torch.manual_seed(7)
    # Another division would hold out others.
    held_out = [str(Path(path).relative_to(root)) for path, _ in first.part("test").samples]
    assert held_out == ["bird/06.png", "bird/11.png", "cat/07.png", "cat/18.png"]
    for part in ("train", "validation", "test"):
        assert torch.equal(first.tensors(part)[0], again.tensors(part)[0])
    assert first.fingerprint() == again.fingerprint()
    together = torch.cat([first.tensors(part)[0] for part in ("train", "validation", "test")])
    assert len(together.flatten(1).unique(dim=0)) == 40
    assert (first.name, first.class_names) == ("mine", CLASSES)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("held_out", ["test", "val"])
def test_a_folder_that_is_divided_keeps_its_division(write, held_out, in_memory):
    write("mine/train", 20)
    root = write(f"mine/{held_out}", 3).parent
    assert parts(root, in_memory=in_memory) == {"train": [18, 18], "validation": [2, 2], "test": [3, 3]}


def test_val_is_for_validation_where_there_is_a_test_as_well(write):
    write("mine/train", 20)
    write("mine/val", 4)
    assert parts(write("mine/test", 3).parent) == {"train": [20, 20], "validation": [4, 4], "test": [3, 3]}


def test_the_command_line_measures_the_test_part_of_a_divided_folder_and_all_of_another(write):
    write("mine/train", 20)
    data = open_data(str(write("mine/test", 3, size=(8, 8)).parent), (3, 8, 8), 2)
    assert (len(data), data.class_names) == (6, CLASSES)
    assert len(open_data(str(write("other", 20, size=(8, 8))), (3, 8, 8), 2)) == 40


def test_the_fingerprint_changes_with_a_pixel_and_with_a_label(write):
    root = write("mine", 10)
    known = {part: ImageFolder(str(root)).fingerprint(part) for part in ("train", "validation", "test")}
    path = root / "cat" / "03.png"
    pixels = np.array(Image.open(path))
    pixels[2, 3, 1] ^= 1
    Image.fromarray(pixels).save(path)
    assert [ImageFolder(str(root)).fingerprint(part) != value for part, value in known.items()].count(True) == 1
    whole = ImageFolder(str(root)).fingerprint()
    path.rename(root / "bird" / "03b.png")
    assert ImageFolder(str(root)).fingerprint() != whole


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_cut_file_is_named_before_training(write, random, suffix, in_memory):
    root = write("mine", 20)
    path = root / "cat" / f"x.{suffix}"
    write_image(path, random, (6, 8))
    path.write_bytes(path.read_bytes()[:-20])
    data = ImageFolder(str(root), in_memory=in_memory)
    with pytest.raises(InputError, match=rf"cat/x.{suffix} .*read"):
        data.prepare_data() or data.setup("fit")


@pytest.mark.parametrize("in_memory", [True, False])
def test_sizes_that_differ_are_named_with_the_remedy_and_can_be_made_one(write, random, in_memory):
    root = write("mine", 20)
    write_image(root / "cat" / "x.png", random, (9, 7))
    data = ImageFolder(str(root), in_memory=in_memory)
    with pytest.raises(InputError, match=r"cat/x.png .*7 x 9 .*bird/00.png .*8 x 6.*image_size"):
        data.prepare_data() or data.setup()
    data = ImageFolder(str(root), image_size=5, channels=1, in_memory=in_memory, num_workers=0)
    data.prepare_data()
    assert data.tensors("train")[0].shape[1:] == (1, 5, 5)


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_need_not_be_square(tmp_path, in_memory):
    column = np.arange(40, dtype=np.uint8)
    for name, pixels in (("wide", np.tile(column, (10, 1))), ("tall", np.tile(column[:, None], (1, 10)))):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for index in range(4):
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{index}.png")
    images, labels = ImageFolder(
        str(tmp_path / "mine"), image_size=(5, 10), channels=1, in_memory=in_memory, num_workers=0
    ).tensors("train")
    assert images.shape[1:] == (1, 5, 10)
    tall, wide = ((255 * images[labels == label][0, 0]).round() for label in (0, 1))
    # Of 40 × 10 pixels the middle 20 × 10 stay, and of 10 × 40 the middle 10 × 5.
    assert (wide.amin() >= 10, wide.amax() <= 29, wide.amax() - wide.amin() > 15) == (True, True, True)
    assert (tall.amin() >= 17, tall.amax() <= 22, len(tall.unique()) > 3) == (True, True, True)


def test_folders_that_cannot_be_trained_on_are_refused(write, tmp_path):
    write("mine/train", 2)
    root = write("mine/test", 2, ("bird", "dog")).parent
    with pytest.raises(InputError, match=r"mine/test .*'cat'"):
        ImageFolder(str(root)).prepare_data()
    with pytest.raises(InputError, match=r"one .*'cat'"):
        ImageFolder(str(write("one", 2, ("cat",)))).setup()
    (write("few", 2) / "dog").mkdir()
    with pytest.raises(InputError, match="few/dog"):
        ImageFolder(str(tmp_path / "few")).setup()
    with pytest.raises(InputError, match="nowhere"):
        ImageFolder(str(tmp_path / "nowhere")).prepare_data()


def test_arguments_that_make_no_images_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="image_size=0"):
        ImageFolder(str(tmp_path), image_size=0)
    for size in ((24, 0), (24,), (1, 2, 3)):
        with pytest.raises(ConfigError, match=r"image_size=\("):
            ImageFolder(str(tmp_path), image_size=size)
    with pytest.raises(ConfigError, match="num_workers=-1"):
        ImageFolder(str(tmp_path), num_workers=-1)
    with pytest.raises(InputError, match="2 channels"):
        ImageFolder(str(tmp_path), channels=2)


@pytest.mark.processes
def test_worker_processes_read_the_same_however_they_are_started(write):
    data = ImageFolder(str(write("mine", 20)), batch_size=8, num_workers=1)
    alone = ImageFolder(data.root, batch_size=8, num_workers=0)
    batches = []
    for loader, start in ((data.train_dataloader(), "spawn"), (alone.train_dataloader(), None)):
        loader.multiprocessing_context = start
        torch.manual_seed(3)
        batches.append(list(loader))
    for read, expected in zip(*batches, strict=True):
        assert all(map(torch.equal, read, expected))
