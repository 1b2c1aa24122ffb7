import pytest
import torch

from sll_zoo.data import Digits
from sll_zoo.errors import ConfigError


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
