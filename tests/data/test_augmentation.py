"""The augmentation of a batch against torchvision's of one image after another, as the paper's code has it."""

import pytest
import torch
from torch.nn.functional import pad
from torchvision.transforms import functional as one

from sll_zoo.data import augmentation
from sll_zoo.data.augmentation import STEPS, augment, crop_and_flip, draw, jitter
from tests import tolerances as tol

REFERENCE = (one.adjust_brightness, one.adjust_contrast, one.adjust_saturation, one.adjust_hue)


@pytest.fixture
def images():
    """Noise; and images of five levels, in which channels are often equal, black, white or grey."""
    return torch.cat([torch.rand(8, 3, 16, 12), torch.randint(5, (8, 3, 16, 12)) / 4])


@pytest.mark.parametrize("step", range(4), ids=["brightness", "contrast", "saturation", "hue"])
def test_each_colour_step_is_torchvisions(images, step):
    low, high = [*augmentation.RANGES[:3], (-0.5, 0.5)][step]
    factors = low + (high - low) * torch.rand(len(images))
    factors[:2] = torch.tensor([low, high])
    changed = STEPS[step](images, factors.view(-1, 1, 1, 1))
    for image, factor, actual in zip(images, factors.tolist(), changed, strict=True):
        torch.testing.assert_close(actual, REFERENCE[step](image, factor), rtol=0, atol=tol.COLOUR)


def test_each_image_has_its_own_factors_and_its_own_order(images):
    _, _, factors, order = draw(len(images))
    assert len({tuple(row) for row in order.tolist()}) > 1
    changed = jitter(images, factors, order)
    for image, own, steps, actual in zip(images, factors.tolist(), order.tolist(), changed, strict=True):
        expected = image
        for step in steps:
            expected = REFERENCE[step](expected, own[step])
        torch.testing.assert_close(actual, expected, rtol=0, atol=tol.COLOUR)


def test_crops_come_from_the_image_padded_by_reflection_and_are_then_flipped(images):
    offsets, flipped, _, _ = draw(len(images))
    offsets[:2] = torch.tensor([[-4, 4], [4, -4]])
    changed = crop_and_flip(images, offsets, flipped)
    for image, (down, right), flip, actual in zip(images, offsets.tolist(), flipped.tolist(), changed, strict=True):
        padded = pad(image[None], [4] * 4, mode="reflect")[0]
        crop = padded[:, 4 + down : 20 + down, 4 + right : 16 + right]
        assert torch.equal(actual, one.hflip(crop) if flip else crop)


def test_what_is_drawn_has_the_papers_ranges_and_every_value_is_as_likely():
    n = 20_000
    offsets, flipped, factors, order = draw(n)
    counts = torch.stack([axis.add(4).bincount(minlength=9) for axis in offsets.T])
    # Within five standard deviations of a count, as are all counts below.
    assert counts.shape == (2, 9)
    assert (counts - n / 9).abs().max() < 5 * (n * 1 / 9 * 8 / 9) ** 0.5
    assert abs(int(flipped.sum()) - n / 2) < 5 * (n / 4) ** 0.5
    ranges = torch.tensor([[0.9, 1.1], [0.5, 2.0], [0.3, 2.0], [-0.02, 0.02]])  # the paper's
    low, width = ranges[:, 0], ranges[:, 1] - ranges[:, 0]
    unit = (factors - low) / width
    assert unit.min() > -1e-6
    assert unit.max() < 1 + 1e-6
    tenths = torch.stack([column.mul(10).long().clamp(0, 9).bincount(minlength=10) for column in unit.T])
    assert (tenths - n / 10).abs().max() < 5 * (n * 0.09) ** 0.5
    _, counts = order.unique(dim=0, return_counts=True)
    assert len(counts) == 24
    assert (counts - n / 24).abs().max() < 5 * (n / 24) ** 0.5


def test_copies_of_an_image_come_out_different_and_a_seed_repeats_them():
    copies = torch.rand(1, 3, 16, 16).expand(64, -1, -1, -1)
    torch.manual_seed(1)
    first = augment(copies)
    assert len(first.flatten(1).unique(dim=0)) == 64
    assert not torch.equal(augment(copies), first)
    torch.manual_seed(1)
    assert torch.equal(augment(copies), first)


def test_crop_and_flip_leave_the_colours_as_they_are():
    images = torch.rand(64, 3, 16, 16)
    torch.manual_seed(1)
    moved = augment(images, "crop_flip")
    torch.manual_seed(1)
    offsets, flipped, *_ = draw(64)
    assert torch.equal(moved, crop_and_flip(images, offsets, flipped))
    torch.manual_seed(1)
    assert torch.equal(augment(images, "flip"), images.flip(3).where(flipped[:, None, None, None], images))
    torch.manual_seed(1)
    assert torch.equal(augment(images, "crop"), crop_and_flip(images, offsets, torch.zeros_like(flipped)))
    assert torch.equal(augment(images, "none"), images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(5, 3, 9, 7), (5, 1, 8, 8), (0, 3, 8, 8), (300, 3, 2, 1)])
def test_images_keep_shape_dtype_and_range_and_the_ones_given_stay_as_they_are(shape, dtype):
    images = torch.rand(shape).to(dtype)
    before = images.clone()
    changed = augment(images)
    assert (changed.shape, changed.dtype) == (images.shape, dtype)
    assert torch.equal(images, before)
    assert ((changed >= 0) & (changed <= 1)).all()


def test_of_grey_images_brightness_and_contrast_change():
    grey = torch.rand(20, 1, 6, 6)
    _, _, factors, order = draw(20)
    colour = grey.expand(-1, 3, -1, -1)
    torch.testing.assert_close(jitter(grey, factors, order), jitter(colour, factors, order)[:, :1], rtol=0, atol=tol.GREY)
    assert (jitter(grey, factors, order) - grey).abs().max() > 0.1
