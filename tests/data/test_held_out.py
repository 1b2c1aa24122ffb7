import shutil

import pytest
import timm
import torch

import sll_zoo
from sll_zoo.class_names import CIFAR10_CLASSES
from sll_zoo.data import Digits, check_source, fingerprint, open_data
from sll_zoo.errors import ConfigError, InputError, UnknownNameError, UntrainedHeadWarning
from sll_zoo.models.labels import label_names
from sll_zoo.zoo.folder import CHECKPOINTS, ModelFolder
from sll_zoo.zoo.publishing.save import save_pretrained
from sll_zoo.zoo.records.record import read_records
from tests.folders import write_images

SHAPE = (1, 8, 8)


@pytest.fixture
def folder(digits, tmp_path):
    images, labels = digits.tensors("test")
    write_images(tmp_path / "images", images[:60], labels[:60])
    return tmp_path / "images"


def test_a_named_data_set_is_its_held_out_part(digits):
    data = open_data("digits", SHAPE, 10)
    images, labels = (torch.cat(parts) for parts in zip(*data.batches(), strict=True))
    assert all(map(torch.equal, (images, labels), digits.tensors("test")))
    assert (data.name, data.class_names, len(data)) == ("digits", Digits.class_names, 400)


def test_a_limit_takes_evenly_spaced_images_and_always_the_same():
    data = open_data("digits", SHAPE, 10)
    assert data.limited(4).indices == [0, 100, 200, 300]
    assert data.limited(3).indices == [0, 133, 266]
    assert data.limited(1).indices == [0]
    assert data.limited(1000).indices == list(range(400))
    assert torch.equal(data.limited(4).image(2), data.samples[200][0])
    assert data.limited(100).limited(4).indices == [0, 100, 200, 300]
    with pytest.raises(ConfigError, match="limit=0"):
        data.limited(0)


def test_a_folder_is_read_class_by_class_and_measured_as_its_pixels(folder, pretrained, digits):
    data = open_data(str(folder), SHAPE, 10)
    images, labels = (torch.cat(parts) for parts in zip(*data.batches(), strict=True))
    expected, classes = (part[:60] for part in digits.tensors("test"))
    order = classes.argsort(stable=True)
    assert torch.equal(labels, classes[order])
    assert torch.equal(images, (255 * expected[order]).round() / 255)
    assert data.class_names == tuple("0123456789")
    evaluation = sll_zoo.evaluate(pretrained, data.batches())
    assert evaluation.counts == sll_zoo.evaluate(pretrained, [(images, labels)]).counts


def test_the_fingerprint_is_of_pixels_and_labels_whatever_the_batches(digits):
    images, labels = digits.tensors("test")
    known = fingerprint([(images, labels)])
    assert fingerprint(digits.test_dataloader()) == known
    other = images.clone()
    other[7, 0, 3, 3] += 0.001
    assert known not in {
        fingerprint([(other, labels)]),
        fingerprint([(images, labels.flip(0))]),
        fingerprint([(images[1:], labels[1:])]),
    }


def test_folders_that_do_not_fit_the_model_are_refused(folder):
    with pytest.raises(InputError, match=r"10 .*\(0, 1, 2, …\).* 100"):
        open_data(str(folder), SHAPE, 100)
    with pytest.raises(InputError, match=r"8 x 8 .*32 x 32"):
        open_data(str(folder), (3, 32, 32), 10)
    with pytest.raises(InputError, match="2 channels"):
        open_data(str(folder), (2, 8, 8), 10)
    with pytest.raises(InputError, match=r"digits .*\(1, 8, 8\).*\(3, 32, 32\)"):
        open_data("digits", (3, 32, 32), 10)


ANIMALS = ("dog", "cat", "bird", "ant", "3", "5", "6", "7", "8", "9")


def test_folders_are_found_among_the_models_classes_by_name(folder):
    names = {"0": "cat", "1": "dog", "2": "ant"}
    for number in "3456789":
        shutil.rmtree(folder / number)
    counts = {name: len(list((folder / number).rename(folder / name).iterdir())) for number, name in names.items()}
    data = open_data(str(folder), SHAPE, 10, ANIMALS)
    labels = torch.cat([labels for _, labels in data.batches()])
    assert data.class_names == ANIMALS
    assert {ANIMALS[label]: count for label, count in enumerate(labels.bincount().tolist()) if count} == counts
    assert data.batches().dataset[0][0].shape == SHAPE
    # Folders of some of the model's classes are enough, but other classes are refused.
    shutil.rmtree(folder / "ant")
    shutil.rmtree(folder / "dog")
    assert {label for _, label in open_data(str(folder), SHAPE, 10, ANIMALS).samples} == {1}
    (folder / "cat").rename(folder / "tiger")
    with pytest.raises(InputError, match=r"1 of 1 .*tiger.*dog, cat, bird, ant"):
        open_data(str(folder), SHAPE, 10, ANIMALS)


def test_as_many_folders_with_other_names_are_those_of_the_model_only_where_nobody_knows_its_names(folder):
    (folder / "9").rename(folder / "nine")
    numbers = tuple(map(str, range(10)))
    for names in ((), numbers):
        assert open_data(str(folder), SHAPE, 10, names).class_names == (*numbers[:9], "nine")
    with pytest.raises(InputError, match=r"5 of 10 .*0, 1, 2, 4, nine"):
        open_data(str(folder), SHAPE, 10, ANIMALS)
    shutil.rmtree(folder / "nine")
    assert open_data(str(folder), SHAPE, 10, numbers).class_names == numbers
    with pytest.raises(InputError, match=r"9 .*\(0, 1, 2, …\)"):
        open_data(str(folder), SHAPE, 10)


def test_a_data_set_of_that_name_agrees_in_names_too(digits):
    numbers = tuple("0123456789")
    data = open_data("digits", SHAPE, 10, numbers[::-1])
    assert torch.equal(torch.cat([labels for _, labels in data.batches()]), 9 - digits.tensors("test")[1])
    with pytest.raises(InputError, match=r"digits .*10 of 10 .*0, 1"):
        open_data("digits", SHAPE, 10, tuple("abcdefghij"))


def test_networks_know_the_names_that_their_weights_came_with(tmp_path):
    named = sll_zoo.create_model("sll_nano.digits", pretrained=True)
    assert label_names(named) == tuple("0123456789")
    assert label_names(sll_zoo.create_model("sll_tiny.cifar10", pretrained=True)) == CIFAR10_CLASSES
    save_pretrained(named, tmp_path / "named", label_names=ANIMALS)
    assert label_names(sll_zoo.create_model(f"local-dir:{tmp_path}/named", pretrained=True)) == ANIMALS
    # Names of classes are unknown for an untrained head, and for one with another number of classes.
    assert label_names(sll_zoo.create_model(f"local-dir:{tmp_path}/named")) == ()
    assert label_names(sll_zoo.create_model("sll_nano.digits")) == ()
    with pytest.warns(UntrainedHeadWarning):
        assert label_names(sll_zoo.create_model("sll_nano.digits", pretrained=True, num_classes=3)) == ()
    named.reset_classifier(3)
    assert label_names(named) == ()


def test_the_shipped_names_are_those_of_the_configurations():
    for name in read_records():
        config = ModelFolder.read(CHECKPOINTS / name).config
        assert tuple(config["label_names"]) == label_names(timm.create_model(name, pretrained=True))


def test_what_is_no_data_set_is_refused(folder, tmp_path):
    with pytest.raises(UnknownNameError, match=r"'nowhere'.*digits"):
        open_data("nowhere", SHAPE, 10)
    with pytest.raises(InputError, match=r"images/0/cat/1.png"):
        check_source(str(folder / "0"))
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    with pytest.raises(InputError, match=r"empty.*\.jpg"):
        check_source(str(tmp_path / "empty"))
