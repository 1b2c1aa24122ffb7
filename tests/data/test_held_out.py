import pytest
import torch

import sll_zoo
from sll_zoo.data import Digits, check_source, fingerprint, open_data
from sll_zoo.errors import ConfigError, InputError, UnknownNameError
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
    with pytest.raises(ConfigError, match="limit=0: give an integer of at least 1"):
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
    with pytest.raises(InputError, match=r"has 10 classes \(0, 1, 2, …\), the model 100"):
        open_data(str(folder), SHAPE, 100)
    with pytest.raises(InputError, match="8 x 8 pixels: this model takes 32 x 32"):
        open_data(str(folder), (3, 32, 32), 10)
    with pytest.raises(InputError, match="2 channels"):
        open_data(str(folder), (2, 8, 8), 10)
    with pytest.raises(InputError, match=r"digits has images of \(1, 8, 8\), the model takes \(3, 32, 32\)"):
        open_data("digits", (3, 32, 32), 10)


def test_what_is_no_data_set_is_refused(folder, tmp_path):
    with pytest.raises(UnknownNameError, match="'nowhere', and no folder of that name: nearest: digits"):
        open_data("nowhere", SHAPE, 10)
    with pytest.raises(InputError, match="has no class folders: put the images of each class"):
        check_source(str(folder / "0"))
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    with pytest.raises(InputError, match=r"no images in the class folders .*png"):
        check_source(str(tmp_path / "empty"))
