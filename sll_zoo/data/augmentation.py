"""Augmentation of a whole batch at once on its device, with random numbers of its own for each image.

The paper's augmentation is a crop from the image padded by reflection, a flip, and changes of brightness, contrast, saturation
and hue in random order. The formulas are those of torchvision's ``RandomCrop``, ``RandomHorizontalFlip`` and ``ColorJitter``; the
tests compare image by image. It is implemented here since torchvision gives all images of a batch the same random numbers; kornia
does not, but it is slower on a CPU than the pipeline should be, and takes the colour steps in the same order for all images of a
batch (``benchmarks/data_pipeline.md``).

Source: the released training code of Araujo et al. 2023 (arXiv 2303.03169), whose ranges are those of AOL's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from sll_zoo.data.images import without_waiting

# Augmentations by name: nothing; a flip; a crop; crop and flip; crop, flip and the paper's colours.
Augmentation = Literal["none", "flip", "crop", "crop_flip", "paper"]

PADDING = 4
# Smallest and largest factor of brightness, contrast and saturation; smallest and largest shift of the hue in full turns.
RANGES = ((0.9, 1.1), (0.5, 2.0), (0.3, 2.0), (-0.02, 0.02))
# Weights of red, green and blue in grey (ITU-R 601-2), with the digits that torchvision uses.
LUMA = (0.2989, 0.587, 0.114)
# Number of images that go through a colour step at a time: intermediate results then stay in a processor's cache.
FEW = 64


@torch.no_grad()
def augment(images: Tensor, how: Augmentation = "paper") -> Tensor:
    """Return the images, changed at random as ``how`` says: cropped, flipped, and changed in colour.

    All random numbers come from torch's global generator of the CPU, whatever the device: the same seed gives the same images.

    Args:
        images: (batch, 3 or 1, height, width) in [0, 1]. Of grey images, only brightness and contrast change.
        how: ``paper`` does all of this, ``crop_flip`` keeps the colours, ``crop`` and ``flip`` do one of these, ``none`` nothing.

    Returns:
        Images of the same shape, dtype and device, in [0, 1].
    """
    if how == "none":
        return images
    offsets, flipped, factors, order = draw(len(images))
    if how == "flip":
        offsets.zero_()
    if how == "crop":
        flipped.zero_()
    moved = crop_and_flip(images.float(), offsets, flipped)
    return (jitter(moved, factors, order) if how == "paper" else moved).to(images.dtype)


def draw(n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the random numbers of n images: offsets and flips for crop_and_flip, factors and order for jitter."""
    offsets = torch.randint(-PADDING, PADDING + 1, (n, 2))
    flipped = torch.rand(n) < 0.5
    low, high = torch.tensor(RANGES).unbind(1)
    factors = low + (high - low) * torch.rand(n, len(RANGES))
    order = torch.rand(n, len(RANGES)).argsort(1)
    return offsets, flipped, factors, order


def crop_and_flip(images: Tensor, offsets: Tensor, flipped: Tensor) -> Tensor:
    """Return the window of each image that is moved by its offset, with pixels outside reflected at the edge, then flipped.

    Args:
        images: (batch, channels, height, width).
        offsets: Whole pixels (batch, 2) by which the window moves down and to the right.
        flipped: Whether left and right change places (batch,).
    """
    n, channels, height, width = images.shape
    offsets, flipped = (without_waiting(drawn, images.device) for drawn in (offsets, flipped))
    columns = torch.arange(width, device=images.device).expand(n, width)
    columns = _reflected(torch.where(flipped[:, None], width - 1 - columns, columns) + offsets[:, 1:], width)
    rows = _reflected(torch.arange(height, device=images.device) + offsets[:, :1], height)
    places = (width * rows[:, :, None] + columns[:, None, :]).flatten(1)
    return images.flatten(2).gather(2, places[:, None].expand(-1, channels, -1)).view_as(images)


def _reflected(places: Tensor, size: int) -> Tensor:
    """Return positions reflected at both ends into 0, …, size − 1; the end itself is not repeated."""
    period = max(1, 2 * (size - 1))
    places = places % period
    return torch.minimum(places, period - places)


def jitter(images: Tensor, factors: Tensor, order: Tensor) -> Tensor:
    """Return the images with the four colour steps applied, to each in its own order.

    Args:
        images: (batch, 3 or 1, height, width) in [0, 1].
        factors: (batch, 4), the factor or shift of each of ``STEPS``.
        order: (batch, 4), each row a permutation of 0 to 3: which step comes first, second, third and last.
    """
    images, factors = images.clone(), without_waiting(factors, images.device)
    together = FEW if images.device.type == "cpu" else max(1, len(images))
    for place in range(len(STEPS)):
        for number, step in enumerate(STEPS):
            chosen = without_waiting((order[:, place] == number).nonzero().squeeze(1), images.device)
            for few in torch.split(chosen, together):
                images[few] = step(images[few], factors[few, number].view(-1, 1, 1, 1))
    return images


def brighten(images: Tensor, factor: Tensor) -> Tensor:
    """Return factor × image, within [0, 1]."""
    return (images * factor).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Return m + factor × (image − m), within [0, 1], with m the mean of the grey image."""
    return torch.lerp(_grey(images).mean((2, 3), keepdim=True), images, factor).clamp_(0, 1)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Return g + factor × (image − g), within [0, 1], with g the grey image."""
    return torch.lerp(_grey(images), images, factor).clamp_(0, 1)


def turn_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Return the images with the hue of each pixel moved by ``shift`` full turns; its largest and smallest value stay.

    With c = max − min of a pixel and h its hue in sixths of a turn, red is min + c × clamp(|h mod 6 − 3| − 1, 0, 1); green and
    blue are the same of h + 4 and h + 2.
    """
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    high, low = images.amax(1), images.amin(1)
    chroma = high - low
    sixths = torch.lerp(red - green + 4 * chroma, blue - red + 2 * chroma, (high == green).to(images))  # where() is slower
    sixths = torch.lerp(sixths, green - blue, (high == red).to(images))
    sixths.div_(chroma.clamp(min=torch.finfo(images.dtype).tiny)).add_(6 * shift.squeeze(1))
    # |h mod 6 - 3| is the lesser of |h - 3| and ||h - 3| - 6| for h from -6 to 12, and remainder() is slow.
    away = (sixths.unsqueeze(1) + images.new_tensor([-3.0, 1.0, -1.0]).view(3, 1, 1)).abs_()
    weight = torch.minimum(away, (away - 6).abs_(), out=away).sub_(1).clamp_(0, 1)
    return weight.mul_(chroma.unsqueeze(1)).add_(low.unsqueeze(1))


def _grey(images: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    return (images * images.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)


STEPS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (brighten, contrast, saturate, turn_hue)
