"""Parts of the data sets that need no files."""

import pytest
import torch

from sll_zoo.data import Digits, DigitsByPixel, Synthetic, fingerprint
from sll_zoo.errors import ConfigError, UnknownNameError


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


def test_digits_by_pixel_are_the_same_images_as_sequences_of_one_row_after_another(digits):
    for part in ("train", "validation", "test"):
        (images, labels), (sequences, same) = digits.tensors(part), DigitsByPixel().tensors(part)
        assert torch.equal(sequences, torch.stack([torch.cat([*image[0]])[None, :, None] for image in images]))
        assert torch.equal(labels, same)


def test_the_models_mean_is_that_of_the_training_images(digits):
    from sll_zoo.zoo.tags import DATA_OF_TAG

    assert DATA_OF_TAG["digits"].mean == pytest.approx((digits.tensors("train")[0].mean().item(),), abs=1e-4)


def test_a_batch_of_nothing_is_refused():
    for kind in (Digits, DigitsByPixel):
        for size in (0, 2.5, True):
            with pytest.raises(ConfigError, match=f"batch_size={size}"):
                kind(batch_size=size)


def test_synthetic_images_are_the_same_each_time_and_can_be_told_apart():
    torch.manual_seed(3)
    data, again = Synthetic(images=200, num_classes=4), Synthetic(images=200, num_classes=4)
    assert data.fingerprint() == again.fingerprint() != Synthetic(images=200, num_classes=5).fingerprint()
    images, labels = data.tensors("train")
    assert images.shape[1:] == (3, 32, 32)
    assert data.class_names == ("0", "1", "2", "3")
    assert {part: len(data.part(part)) for part in ("train", "validation", "test")} == {
        "train": 162,
        "validation": 18,
        "test": 20,
    }
    means = torch.stack([images[labels == label].mean(0) for label in range(4)]).flatten(1)
    test_images, test_labels = data.tensors("test")
    assert torch.equal(torch.cdist(test_images.flatten(1), means).argmin(1), test_labels)
    with pytest.raises(ConfigError, match="images=10, num_classes=0"):
        Synthetic(images=10, num_classes=0)


def test_parts_are_read_when_they_are_asked_for_and_have_a_fingerprint_each(digits):
    fresh = Digits()
    assert fresh.fingerprint("test") == fingerprint([digits.tensors("test")])
    assert len({fresh.fingerprint(part) for part in ("train", "validation", "test")} | {fresh.fingerprint()}) == 4
    with pytest.raises(UnknownNameError, match=r"digits .*'val'"):
        fresh.tensors("val")


def test_an_image_alone_is_the_same_as_in_a_batch(digits):
    part = digits.part("test")
    image, label = part[3]
    assert torch.equal(image, digits.tensors("test")[0][3])
    assert label == digits.tensors("test")[1][3]
