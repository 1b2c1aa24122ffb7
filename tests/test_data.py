import numpy as np
import pytest
import torch
from PIL import Image

import sll_zoo
from sll_zoo.data import Digits, check_source, fingerprint, open_data
from sll_zoo.data.image_folder import read_image
from sll_zoo.errors import ConfigError, InputError, UnknownNameError
from tests.folders import write_images

SHAPE = (1, 8, 8)


@pytest.fixture
def folder(digits, tmp_path):
    images, labels = digits.tensors("test")
    write_images(tmp_path / "images", images[:60], labels[:60])
    return tmp_path / "images"


def test_digits_are_split_once_and_for_all(digits):
    parts = {part: digits.tensors(part) for part in ("train", "validation", "test")}
    assert {part: len(labels) for part, (_, labels) in parts.items()} == {"train": 1200, "validation": 197, "test": 400}
    # The first labels of the held-out part: another split would have others.
    assert parts["test"][1][:10].tolist() == [6, 6, 6, 2, 5, 6, 6, 2, 2, 1]
    together = torch.cat([images for images, _ in parts.values()])
    assert len(together.flatten(1).unique(dim=0)) == 1797
    assert all(label in parts["test"][1] for label in range(10))


def test_images_are_in_zero_one_and_batches_are_whole(digits):
    images, labels = next(iter(digits.train_dataloader()))
    assert (images.shape, images.dtype, labels.dtype) == ((64, 1, 8, 8), torch.float32, torch.int64)
    assert 0 <= images.min() < images.max() <= 1
    assert sum(len(labels) for _, labels in digits.test_dataloader()) == 400


def test_the_models_mean_is_that_of_the_training_images(digits):
    from sll_zoo.zoo.entries import DATASETS

    assert DATASETS["digits"].mean == pytest.approx((digits.tensors("train")[0].mean().item(),), abs=1e-4)


def test_a_batch_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="batch_size=0"):
        Digits(batch_size=0)


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


def test_colour_becomes_grey_and_grey_becomes_colour(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    colour = read_image(str(tmp_path / "colour.png"), (3, 4, 6))
    assert torch.equal(colour, torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)
    grey = read_image(str(tmp_path / "grey.png"), (3, 4, 6))
    assert torch.equal(grey, colour[:1].expand(3, 4, 6))
    luma = read_image(str(tmp_path / "colour.png"), (1, 4, 6))
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)  # ITU-R 601-2
    assert (luma - (weights * colour).sum(0)).abs().max() <= 1 / 255


def test_images_that_the_model_cannot_take_are_named_with_the_remedy(tmp_path):
    Image.new("L", (6, 4)).save(tmp_path / "wide.png")
    with pytest.raises(InputError, match=r"wide.png has 6 x 4 pixels: this model takes 8 x 8: resize"):
        read_image(str(tmp_path / "wide.png"), SHAPE)
    Image.fromarray(np.full((8, 8), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(InputError, match=r"deep.png has more than 8 bits a channel .*: convert"):
        read_image(str(tmp_path / "deep.png"), SHAPE)


@pytest.mark.filterwarnings("ignore:.*EXIF data.*:UserWarning")  # Pillow says of a cut TIFF what else it misses
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tiff"])
def test_a_file_cut_at_any_byte_is_named_or_read_never_anything_else(suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    whole, refused = path.read_bytes(), 0
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            read_image(str(path), SHAPE)
        except InputError as error:
            assert path.name in str(error)  # noqa: PT017 - some cuts leave a whole image
            refused += 1
    assert refused > len(whole) / 2


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
