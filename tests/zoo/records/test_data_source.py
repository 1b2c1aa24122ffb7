"""What records say of their data is opened again, and nothing else that a stranger could write there is."""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from sll_zoo.data import CIFAR10, CIFAR100, Digits, ImageFolder, Synthetic, TinyImageNet, TrafficSigns, open_data
from sll_zoo.errors import InputError
from sll_zoo.zoo.records.data_source import open_recorded, source_of
from sll_zoo.zoo.records.record import DataSource
from tests.data.published import write_image

SHAPE = (3, 8, 8)


@pytest.fixture(autouse=True)
def _images(monkeypatch, tmp_path):
    """Work where ``data`` has a folder of class folders, and one that is divided; not all images have one size."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for index in range(40):
        part = "train" if index < 30 else "test"
        write_image(Path("data/divided", part, "ab"[index % 2], f"{index}.png"), random, size=(8, 8))
        write_image(Path("data/mine", "ab"[index % 2], f"{index}.png"), random, size=(9, 10 + index % 2))
    rows = [f"{'ab'[index % 2]}/{index}.png,{index // 2}" for index in range(40)]
    Path("data/groups.csv").write_text("\n".join(["file,group", *rows]))


def contents(held_out):
    images, labels = (torch.cat(parts) for parts in zip(*held_out.batches(), strict=True))
    return images, labels


def through_json(source):
    return msgspec.json.decode(msgspec.json.encode(source), type=DataSource)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ImageFolder("data/divided"),
        lambda: ImageFolder("data/mine", image_size=8),
        lambda: ImageFolder(str(Path("data/mine").resolve()), image_size=8, channels=1),
        lambda: ImageFolder("data/mine", image_size=8, groups=r"[ab]/\d"),
        lambda: ImageFolder("data/mine", image_size=8, groups=r"/../\d|/\d"),  # a pattern, no path
        lambda: ImageFolder("data/mine", image_size=8, groups=str(Path("data/groups.csv").resolve())),
        lambda: Synthetic(60, 2, SHAPE),
        Digits,
    ],
)
def test_a_data_module_is_opened_again_from_its_record(make):
    data = make()
    images, labels = data.tensors("test")
    held_out = open_recorded(through_json(source_of(data)), tuple(images.shape[1:]), len(data.class_names))
    assert all(map(torch.equal, contents(held_out), (images, labels)))
    assert (held_out.name, held_out.class_names) == (data.name, data.class_names)
    assert (held_out.preparation, held_out.division) == (data.preparation, data.division)


def test_what_the_command_line_names_is_opened_again_from_its_record():
    folder = open_data("data/divided/train", SHAPE, 2)
    source = source_of(folder)
    assert source == DataSource(class_path="sll_zoo.data.open_data", init_args={"source": "data/divided/train"})
    again = open_recorded(through_json(source), SHAPE, 2)
    assert all(map(torch.equal, contents(again), contents(folder)))
    assert len(again) == 30
    assert source_of(open_data("digits", (1, 8, 8), 10)) == DataSource(class_path="sll_zoo.data.Digits")


def test_a_record_has_what_the_held_out_images_depend_on_and_no_path_of_this_machine(tmp_path):
    assert source_of(ImageFolder(str(tmp_path / "data/mine"), image_size=8, batch_size=7, augment="none")) == DataSource(
        class_path="sll_zoo.data.ImageFolder", init_args={"root": "data/mine", "image_size": (8, 8), "channels": 3}
    )
    for module in (CIFAR10, CIFAR100, TinyImageNet, TrafficSigns):
        source = source_of(module(download=True))
        assert source == DataSource(class_path=f"sll_zoo.data.{module.__name__}", init_args={"root": "data"})
    for outside in ("/nowhere/images", "../images", "data/../../images"):
        assert source_of(ImageFolder(outside)) is None

    class Mine(Digits):
        pass

    Mine.__name__ = "Digits"
    assert source_of(Mine()) is None


@pytest.mark.parametrize(
    ("class_path", "init_args", "words"),
    [
        ("sll_zoo.data.ImageFolder", {"root": "/etc"}, "/etc: .*current folder"),
        ("sll_zoo.data.ImageFolder", {"root": "data/../../x"}, "data/../../x: .*current folder"),
        ("sll_zoo.data.open_data", {"source": "../x"}, " ../x: .*current folder"),
        ("sll_zoo.data.open_data", {"source": "nowhere"}, "'nowhere'"),
        ("sll_zoo.data.open_data", {}, "open_data.*may name"),
        ("sll_zoo.data.fingerprint", {}, "fingerprint.*may name"),
        ("sll_zoo.data.ImageData", {}, "ImageData.*may name"),
        ("sll_zoo.data.CIFAR10", {"download": True}, "init_args"),
        ("sll_zoo.data.CIFAR10", {"download": 1}, "download=1.*may name"),
        ("sll_zoo.data.ImageFolder", {"root": "data/mine", "image_size": 10**6}, "resizes .*1000000"),
        ("sll_zoo.data.ImageFolder", {"root": "data/mine", "image_size": 10**7}, "init_args"),
        ("sll_zoo.data.ImageFolder", {"root": "data/mine", "image_size": "8"}, "resizes .* 8: "),
        ("sll_zoo.data.ImageFolder", {"root": 8}, "gives no images"),
        ("sll_zoo.data.ImageFolder", {"root": "data/mine", "channels": 2}, "gives no images"),
        ("sll_zoo.data.ImageFolder", {}, "gives no images"),
        ("sll_zoo.data.ImageFolder", {"root": "data/nowhere"}, "^data/nowhere "),
        ("os.system", {"command": "true"}, "class_path"),
        ("sll_zoo.data.held_out.open_data", {"source": "digits"}, "class_path"),
    ],
)
def test_nothing_else_is_opened(class_path, init_args, words):
    written = json.dumps({"class_path": class_path, "init_args": init_args})
    with pytest.raises((InputError, LookupError, msgspec.ValidationError), match=words):
        open_recorded(msgspec.json.decode(written, type=DataSource), SHAPE, 2)
