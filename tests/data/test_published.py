"""CIFAR and Tiny-ImageNet: the same code as for the published files, with the addresses, checksums and numbers of small ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets

from sll_zoo.cli.main import main
from sll_zoo.data import CIFAR10, CIFAR100, TinyImageNet, held_out, open_data, tiny_imagenet
from sll_zoo.errors import InputError
from sll_zoo.zoo.records.data_source import source_of
from tests.data import published

ROOT = "data"  # where data modules look unless they are told otherwise
COUNTS = {"train": 20, "test": 2}  # images of each class


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def there(tmp_path):
    """Give a folder whose files can be downloaded, and their address."""
    (tmp_path / "there").mkdir()
    with published.served(tmp_path / "there") as address:
        yield tmp_path / "there", address


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """Give each CIFAR with an archive and class folders of a few images, where they are, and their fingerprints."""
    made = {}
    for module, reader, classes in ((CIFAR10, datasets.CIFAR10, 10), (CIFAR100, datasets.CIFAR100, 100)):
        folder = tmp_path_factory.mktemp(module.name)
        archive = published.cifar(reader, folder, classes)
        same = type(module.__name__, (module,), {"archive": archive, "classes": classes, "counts": COUNTS})
        data = same(root=folder / "folders")
        made[module] = archive, folder, {part: data.fingerprint(part) for part in module.genuine}
    return made


def _served_cifar(module, small, there, monkeypatch):
    archive, folder, genuine = small[module]
    shutil.copytree(folder, there[0], dirs_exist_ok=True)
    own = type(archive.__name__, (archive,), {"url": f"{there[1]}/{archive.filename}"})
    for name, value in {"archive": own, "counts": COUNTS, "genuine": genuine}.items():
        monkeypatch.setattr(module, name, value)
    return module


@pytest.fixture(params=[CIFAR10, CIFAR100], ids=["cifar10", "cifar100"])
def cifar(request, small, monkeypatch, there):
    """Give the data module, and leave the archive to be downloaded."""
    return _served_cifar(request.param, small, there, monkeypatch)


@pytest.fixture
def cifar10(small, monkeypatch, there):
    """Give the smaller one."""
    return _served_cifar(CIFAR10, small, there, monkeypatch)


@pytest.fixture
def tiny(monkeypatch, there):
    """Give Tiny-ImageNet's data module, unpacked."""
    archive = published.tiny_imagenet(there[0])
    small = {
        "url": f"{there[1]}/{archive.name}",
        "md5": published.md5(archive),
        "classes": 3,
        "train_images": 20,
        "test_images": 2,
    }
    for name, value in small.items():
        monkeypatch.setattr(TinyImageNet, name, value)
    TinyImageNet(download=True).prepare_data()
    return TinyImageNet


def test_cifar_is_downloaded_on_request_only_then_read_whole(cifar):
    with pytest.raises(InputError, match=r"(batch_1|train) .*exist.*download=True.*train/CLASS/NAME.png"):
        cifar().prepare_data()
    data = cifar(download=True)
    data.prepare_data()
    data.setup()
    classes = len(data.class_names)
    images, labels = data.tensors("test")
    assert (classes, images.shape, images.dtype) == (
        {"cifar10": 10, "cifar100": 100}[data.name],
        (2 * classes, 3, 32, 32),
        torch.float32,
    )
    read, labels_read = zip(*data.archive(ROOT, train=False), strict=True)  # torchvision's own way
    assert labels.tolist() == sorted(labels_read)
    pixels = {(label, np.array(image).tobytes()) for image, label in zip(read, labels_read, strict=True)}
    ours = images.mul(255).permute(0, 2, 3, 1).byte().numpy()
    assert {(label, image.tobytes()) for image, label in zip(ours, labels.tolist(), strict=True)} == pixels
    # A tenth of each class is held out of the training images.
    train, validation = (data.tensors(part)[1].bincount().tolist() for part in ("train", "validation"))
    assert (train, validation) == ([18] * classes, [2] * classes)


def test_a_damaged_file_of_cifar_is_named(cifar):
    cifar(download=True).prepare_data()
    name, checksum = cifar.archive.train_list[-1]
    path = cifar().root / cifar.archive.base_folder / name
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:500] + bytes([whole[500] ^ 1]) + whole[501:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"{name} .*{checksum}.*download=True"):
            cifar().setup("test")
    path.unlink()
    with pytest.raises(InputError, match=f"{name} .*exist.*download=True"):
        cifar().setup()
    cifar(download=True).prepare_data()
    assert path.read_bytes() == whole


def _parts(module, root):
    data = module(root=root)
    data.setup()
    return data.name, data.class_names, {part: data.fingerprint(part) for part in data.genuine}


def test_archive_and_class_folders_give_the_same_images_in_the_same_order(cifar, there, caplog):
    cifar(download=True).prepare_data()
    assert _parts(cifar, ROOT) == _parts(cifar, there[0] / "folders") == (cifar.name, _parts(cifar, ROOT)[1], cifar.genuine)
    assert caplog.text == ""
    shutil.rmtree(ROOT)
    shutil.copytree(there[0] / "folders", Path(ROOT, cifar.name))  # where it is looked for, too
    assert _parts(cifar, ROOT)[0] == cifar.name


def test_a_last_training_has_the_validation_images_too_and_says_the_same_of_the_rest(cifar, there):
    usual, last = (cifar(str(there[0] / "folders"), train_on_validation=choice) for choice in (False, True))
    for part in ("validation", "test"):
        assert usual.fingerprint(part) == last.fingerprint(part)
    assert last.name == cifar.name
    assert last.part("train").labels.bincount().tolist() == [COUNTS["train"]] * cifar.classes


def test_other_images_are_named_so_and_train_all_the_same(cifar10, there, caplog):
    path = next((there[0] / "folders" / "test" / "class_03").iterdir())
    published.write_image(path, np.random.default_rng(1), (32, 32))
    name, _, parts = _parts(cifar10, there[0] / "folders")
    assert name == f"not-genuine-{cifar10.name}"
    assert "the test images in" in caplog.text
    assert {part for part in parts if parts[part] != cifar10.genuine[part]} == {"test"}
    # So they are on the command line, which opens them again by the name of the data set.
    shutil.copytree(there[0] / "folders", ROOT)
    opened = open_data("cifar10", (3, 32, 32), 10)
    assert (opened.name, source_of(opened).class_path) == ("not-genuine-cifar10", "sll_zoo.data.CIFAR10")
    shutil.rmtree(ROOT)
    # Renamed, an image may take another place.
    caplog.clear()
    names = sorted((there[0] / "folders" / "train" / "class_03").iterdir())
    names[0].rename(names[0].with_name("zzz.png"))
    assert _parts(cifar10, there[0] / "folders")[0] == f"not-genuine-{cifar10.name}"


def _image(folder, number=0):
    return sorted((folder / "train" / "class_04").iterdir())[number]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: _image(folder).unlink(), "class_04 has 19 images, not 20"),
        (lambda folder: shutil.copy(_image(folder), _image(folder).with_name("another.png")), "class_04 has 21 images, not 20"),
        (lambda folder: shutil.copy(_image(folder), _image(folder).with_suffix(".bmp")), "has the name of another image"),
        (lambda folder: (folder / "train" / "class_04" / "notes.txt").touch(), "notes.txt is no image"),
        (lambda folder: _cut(_image(folder)), "cannot be read"),
        (lambda folder: published.write_image(_image(folder), np.random.default_rng(0), (32, 31)), "has 31 x 32 pixels"),
        (lambda folder: shutil.rmtree(folder / "test" / "class_01"), "class folders, not"),
        (lambda folder: shutil.rmtree(folder / "train"), "train is no folder"),
        (lambda folder: [(folder / part).rename(folder / part.title()) for part in COUNTS], "test is no folder.*lower case"),
        (lambda folder: _image(folder).parent.rename(folder / "train" / "class_4"), "differ in the class 'class_04'"),
    ],
)
def test_what_is_wrong_with_class_folders_is_named(cifar10, there, change, told):
    change(there[0] / "folders")
    with pytest.raises(InputError, match=told):
        cifar10(root=there[0] / "folders").setup()


def test_two_layouts_at_once_are_refused(cifar10, there):
    shutil.copytree(there[0] / "folders", ROOT)
    cifar10(download=True).prepare_data()  # nothing to download
    assert not Path(ROOT, cifar10.archive.base_folder).exists()
    Path(ROOT, cifar10.archive.base_folder).mkdir()
    with pytest.raises(InputError, match="both hold images"):
        cifar10().setup()


def test_what_was_downloaded_is_what_was_published(cifar, monkeypatch):
    monkeypatch.setattr(cifar.archive, "tgz_md5", "0" * 32)
    with pytest.raises(InputError, match=r"gz .*corrupted.*data"):
        cifar(download=True).prepare_data()
    monkeypatch.setattr(cifar.archive, "url", cifar.archive.url + "x")
    with pytest.raises(InputError, match=r"gzx .*HTTP Error 404"):
        cifar(download=True).prepare_data()


@pytest.mark.parametrize("in_memory", [True, False])
def test_tiny_imagenet_is_read_from_its_archive(tiny, in_memory):
    data = tiny(in_memory=in_memory, num_workers=0)
    data.prepare_data()
    data.setup()
    assert data.class_names == published.NAMES
    assert {part: len(data.part(part)) for part in ("train", "validation", "test")} == {"train": 54, "validation": 6, "test": 6}
    images, labels = data.tensors("test")
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]  # as val_annotations.txt says, not as the files are numbered
    path = data.folder / "val" / "images" / "val_3.JPEG"
    assert torch.equal(images[1], data.part("test")[1][0])
    pixels = datasets.folder.default_loader(str(path))
    assert torch.equal(255 * images[1], torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float())
    assert data.tensors("train")[0].shape[1:] == (3, 64, 64)


def _cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def _overwritten(path):
    path.write_bytes(b"\x89PNG" + path.read_bytes()[4:])


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("train/n02123045/images/n02123045_7.JPEG", _cut, "n02123045_7.JPEG .*read"),
        ("val/images/val_4.JPEG", _cut, "val_4.JPEG .*read"),
        ("train/n02123045/images/n02123045_7.JPEG", lambda path: path.unlink(), "n02123045_7.JPEG .*missing"),
        ("train/n04146614", lambda path: path.rename("elsewhere"), "train/n04146614 .*missing"),
        ("train/n04146614", lambda path: shutil.copytree(path, path.with_name("n00001740")), "train/n00001740 "),
        ("val/images/val_4.JPEG", lambda path: shutil.copy(path, path.with_name("val_9.JPEG")), "val_9.JPEG "),
        ("val/images/val_4.JPEG", lambda path: path.unlink(), "val_4.JPEG .*val_annotations.txt"),
        ("val/val_annotations.txt", lambda path: path.unlink(), "val_annotations.txt .*download=True"),
        ("wnids.txt", lambda path: path.write_text("n01443537\nn04146614\n"), "wnids.txt .* 2 .* 3"),
        (
            "val/val_annotations.txt",
            lambda path: path.write_text(path.read_text().replace("n04146614", "n00001740", 1)),
            "line 5 .*val_annotations.txt .*'n00001740'.*wnids.txt",
        ),
        (
            "val/val_annotations.txt",
            lambda path: path.write_text(path.read_text().replace("n04146614", "n02123045", 1)),
            "val_annotations.txt .* 3 .*n02123045.* 2",
        ),
        ("val/val_annotations.txt", lambda path: path.write_text("val_0.JPEG"), "line 1 .*''"),
        (
            "val/val_annotations.txt",
            lambda path: path.write_text(path.read_text().replace("val_3.JPEG", "val_0.JPEG")),
            "line 2 .*val_annotations.txt .*val_0.JPEG",
        ),
        *((name, _overwritten, f"{name} .*0x89") for name in tiny_imagenet.LISTS),
        *((name, lambda path: path.write_text(""), f"{name} .*( 0 |class n01443537)") for name in tiny_imagenet.LISTS),
        ("words.txt", _cut, "words.txt .*n02123045"),
        ("words.txt", lambda path: path.write_text(path.read_text().replace(published.NAMES[1], " ")), "words.txt .*n02123045"),
        ("words.txt", lambda path: path.write_text(path.read_text().replace("\t", " ")), "words.txt .*n01443537"),
        (
            "train/n02123045/images/n02123045_7.JPEG",
            lambda path: path.rename(path.with_name("n04146614_7.JPEG")),
            "n02123045/images/n02123045_7.JPEG .*missing",
        ),
    ],
)
def test_what_is_wrong_with_tiny_imagenet_is_named_before_training(tiny, file, change, message):
    change(tiny().folder / file)
    for in_memory in (True, False):
        data = tiny(in_memory=in_memory)
        with pytest.raises(InputError, match=message):
            data.prepare_data() or data.setup("fit")


def test_a_training_image_of_another_size_is_named(tiny):
    published.write_image(tiny().folder / "train/n01443537/images/n01443537_3.JPEG", np.random.default_rng(0), (60, 64))
    with pytest.raises(InputError, match=r"n01443537_3.JPEG .*64 x 60"):
        tiny().setup()


def test_a_data_set_that_is_not_there_is_a_mistake_of_one_line_before_the_model_is_looked_for(capsys):
    for name in ("cifar10", "cifar100", "tiny_imagenet", "gtsrb"):
        assert main(["certify", "nothing", name]) == 2
        assert "download=True" in capsys.readouterr().err


@pytest.mark.usefixtures("tiny")
def test_names_on_the_command_line_are_the_held_out_parts(cifar):
    cifar(download=True).prepare_data()
    classes = 10 if cifar is CIFAR10 else 100
    data = open_data(cifar.name, (3, 32, 32), classes)
    assert (data.name, len(data)) == (cifar.name, 2 * classes)
    assert len(open_data("tiny_imagenet", (3, 64, 64), 3)) == 6
    assert all(held_out.data_module(name).name == name for name in held_out.DATA_MODULES)
