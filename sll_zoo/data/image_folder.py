"""Images in a folder of class folders, as torchvision's ImageFolder reads them; refused where a model cannot take them.

Images keep their pixels: nothing is resized or cropped, since a radius is a statement about the image that the network saw.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import datasets

from sll_zoo.errors import InputError

# Pillow's names of what a network takes, by number of channels.
MODES = {1: "L", 3: "RGB"}
# What Pillow raises for a file that is damaged: seen on files of seven formats, cut at each byte and with bytes overwritten.
DAMAGE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def image_folder(root: Path, input_shape: tuple[int, int, int]) -> datasets.ImageFolder:
    """Return the images of a folder of class folders, with the number of their class each.

    The classes are the folders' names, sorted as text; images come class by class, sorted by path. A class may be empty.

    Args:
        root: ``root/cat/1.png`` is an image of the class cat; one that :func:`check_image_folder` accepts.
        input_shape: (channels, height, width) of the images that the network takes: grey for one channel, RGB for three.

    Returns:
        A data set of pairs of an image, as :func:`read_image` gives it, and the index of its class.

    Raises:
        InputError: A network that takes neither grey nor RGB images.
    """
    if input_shape[0] not in MODES:
        raise InputError(f"a model for images of {input_shape[0]} channels", "folders hold grey (1) or RGB (3) images only")
    return datasets.ImageFolder(root, loader=partial(read_image, input_shape=input_shape), allow_empty=True)


def check_image_folder(root: Path) -> None:
    """Raise InputError unless ``root`` has class folders with at least one image in them; no image is opened."""
    if not any(path.is_dir() for path in root.iterdir()):
        raise InputError(f"{root} has no class folders", f"put the images of each class into a folder: {root / 'cat' / '1.png'}")
    if not datasets.ImageFolder(root, allow_empty=True).samples:
        raise InputError(f"no images in the class folders of {root}", f"files end in {', '.join(datasets.folder.IMG_EXTENSIONS)}")


def read_image(path: str, input_shape: tuple[int, int, int]) -> Tensor:
    """Return an image (channels, height, width) in float32 in [0, 1]: its 8-bit values divided by 255.

    Args:
        path: Of the file. Colour becomes grey (luma, ITU-R 601-2) for one channel, grey becomes RGB for three; transparency is
            dropped.
        input_shape: The (channels, height, width) that it must have.

    Raises:
        InputError: A file that is damaged, of another size, or with more than 8 bits a channel.
    """
    channels, height, width = input_shape
    try:
        with Image.open(path) as image:
            image.verify()  # the checksums of PNG, at which decoding does not look
        with Image.open(path) as image:
            # The header tells the size: nothing is decoded for an image that does not fit.
            size, mode = image.size, image.mode
            pixels = np.array(image.convert(MODES[channels])) if size == (width, height) else np.empty(0)
    except DAMAGE as error:
        raise InputError(f"{path} cannot be read ({error})", "restore or remove the file") from error
    if size != (width, height):
        raise InputError(
            f"{path} has {size[0]} x {size[1]} pixels",
            f"this model takes {width} x {height}: resize the images, or change the model",
        )
    if mode.startswith(("I", "F")):
        raise InputError(f"{path} has more than 8 bits a channel (Pillow's mode {mode})", "convert the images to 8 bits")
    return torch.from_numpy(pixels).view(height, width, channels).permute(2, 0, 1).float() / 255
