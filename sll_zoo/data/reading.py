"""Images in files, as Pillow reads them: 8 bits a channel, upright, of one size, and refused with their name otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor, nn

from sll_zoo.errors import InputError

# Pillow's mode for each number of channels.
MODES = {1: "L", 3: "RGB"}
# What Pillow raises for a file that is damaged: seen on files of seven formats, cut at each byte and with bytes overwritten.
DAMAGED_IMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
# The last two bytes of a whole JPEG.
END_OF_JPEG = b"\xff\xd9"


class ImageReader:
    """Reads images of one shape, turned as their EXIF data says that the camera was held.

    Args:
        shape: (channels, height, width) of the returned image. Colour becomes grey (luma, ITU-R 601-2) for one channel, grey
            becomes RGB for three; transparency is dropped.
        resize: Whether an image of another size is cropped at its middle to the shape's proportions and resized (bicubic, with
            antialias), rather than refused.
        remedy: Remedy that the error about an image of another size states.

    Raises:
        InputError: Neither one channel nor three.
    """

    def __init__(self, shape: tuple[int, int, int], resize: bool = False, remedy: str = "") -> None:
        if shape[0] not in MODES:
            raise InputError(f"a model for images of {shape[0]} channels", "files hold grey (1) or RGB (3) images only")
        self.channels, self.height, self.width = shape
        self.resize = resize
        self.remedy = remedy or f"this model takes {self.width} x {self.height}: resize the images, or change the model"

    def __call__(self, path: str) -> Tensor:
        """Return the image, uint8 (channels, height, width).

        Raises:
            InputError: A file that is damaged, of another size, or with more than 8 bits a channel.
        """
        with _opened(path) as image:
            _check_depth(path, image)
            kind, upright = image.format, _upright(image)
            self._check_size(path, upright)
            decoded = upright.convert(MODES[self.channels])
        if kind == "PNG":
            _check_sums(path)
        if decoded.size != (self.width, self.height):
            decoded = ImageOps.fit(decoded, (self.width, self.height), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(decoded)).view(self.height, self.width, self.channels).permute(2, 0, 1)

    def describe(self, path: str) -> tuple[int, int, str]:
        """Return height and width of the upright image, and how reading changes it, in words to follow "it was", or "".

        Raises:
            InputError: A file that is damaged.
        """
        with _opened(path) as image:
            turned, mode = image.getexif().get(ExifTags.Base.Orientation, 1) != 1, image.mode.removesuffix("A")
            transparent = image.has_transparency_data
            width, height = _upright(image).size
        steps = (
            (turned, "turned upright as its EXIF data says"),
            (transparent, "stripped of its transparency"),
            (mode != MODES[self.channels], "made grey" if self.channels == 1 else "made RGB"),
            ((height, width) != (self.height, self.width), fitting(self.height, self.width)),
        )
        return height, width, ", ".join(words for done, words in steps if done)

    def check(self, path: str) -> None:
        """Raise the errors that reading would raise, and decode the image only if they cannot be found without it."""
        with _opened(path) as image:
            _check_depth(path, image)
            kind, turned = image.format, not self.resize and _is_turned(image)
            if not turned:
                self._check_size(path, image)
        if kind == "PNG" and not turned:
            _check_sums(path)
        elif turned or kind != "JPEG" or not _ends(path):
            self(path)

    def _check_size(self, path: str, image: Image.Image) -> None:
        width, height = image.size
        if (height, width) != (self.height, self.width) and not self.resize:
            raise InputError(f"{path} has {width} x {height} pixels", self.remedy)


def load_images(paths: str | Path | Iterable[str | Path], model: nn.Module) -> Tensor:
    """Return the images in files as a network takes them, (batch, channels, height, width) in [0, 1], for ``certify``.

    An image of another size is cropped at its middle to the proportions of the network's and resized (bicubic, with antialias);
    colours become grey for one channel, grey becomes RGB for three. A certified radius holds for the image that is returned.

    Args:
        paths: Path of one file or of several, in any format that Pillow reads.
        model: A network of ``create_model``; its ``config.input_shape`` decides.

    Raises:
        InputError: No file, one that is damaged or holds more than 8 bits a channel, or a network of another number of channels,
            or of sequences of single numbers.
    """
    channels, height, width = cast("Any", model).config.input_shape
    if min(height, width) == 1:
        raise InputError(
            f"files for a network of sequences of {height} x {width} numbers",
            "give it tensors: an image resized to a line is another",
        )
    reader = ImageReader((channels, height, width), resize=True)
    listed = [paths] if isinstance(paths, str | Path) else list(paths)
    if not listed:
        raise InputError("no images", "name at least one file")
    return torch.stack([reader(str(path)) for path in listed]).float() / 255


def fitting(height: int, width: int) -> str:
    """Return in words how an image of another size becomes one of these.

    Example:
        >>> fitting(32, 32)
        'cropped to a square at the middle, resized to 32 × 32 pixels (bicubic)'
        >>> fitting(24, 48)
        'cropped to 48:24 at the middle, resized to 48 × 24 pixels (bicubic)'
    """
    proportions = "a square" if height == width else f"{width}:{height}"
    return f"cropped to {proportions} at the middle, resized to {width} × {height} pixels (bicubic)"


def size_of(path: str) -> tuple[int, int]:
    """Return the (height, width) of the image in a file.

    Raises:
        InputError: A file that is damaged.
    """
    with _opened(path) as image:
        upright = _upright(image)
        return upright.height, upright.width


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    """Open the image in a file; if it proves damaged in the ``with`` block, raise an error with the file's name."""
    try:
        # The file is opened as a stream: given a name, Pillow maps some TIFFs into memory, and scrambles them when it turns them.
        with Path(path).open("rb") as file, Image.open(file) as image:
            yield image
    except InputError:  # raised by the block that uses the image
        raise
    except DAMAGED_IMAGE as error:
        raise InputError(f"{path} cannot be read ({error})", "restore it, remove it, or convert it to 8-bit RGB") from error


def _check_depth(path: str, image: Image.Image) -> None:
    """Refuse an image with more than 8 bits a channel by its header, without decoding it."""
    if image.mode.startswith(("I", "F")):
        raise InputError(f"{path} has more than 8 bits a channel (Pillow's mode {image.mode})", "convert the images to 8 bits")


def _upright(image: Image.Image) -> Image.Image:
    """Return the image turned upright, as its EXIF data says."""
    image.load()
    image.getexif()  # Pillow caches the parsed data: the next line does not remove it
    image.info.pop("exif", None)  # exif_transpose would write odd EXIF data into the turned image, and fail
    return ImageOps.exif_transpose(image)


def _is_turned(image: Image.Image) -> bool:
    """Return whether width and height may change places when the image is turned upright."""
    return image.width != image.height and image.getexif().get(ExifTags.Base.Orientation, 1) != 1


def _check_sums(path: str) -> None:
    """Raise InputError unless the checksums in a PNG are right, which decoding does not check."""
    with _opened(path) as image:
        image.verify()


def _ends(path: str) -> bool:
    """Return whether a JPEG has its end marker, so that it was not cut off."""
    with Path(path).open("rb") as file:
        file.seek(-len(END_OF_JPEG), os.SEEK_END)
        return file.read() == END_OF_JPEG
