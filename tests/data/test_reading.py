import numpy as np
import pytest
import torch
from PIL import Image

from sll_zoo.data.reading import ImageReader
from sll_zoo.errors import InputError

GREY = ImageReader((1, 8, 8))


def test_colour_becomes_grey_and_grey_becomes_colour(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    colour = ImageReader((3, 4, 6))(str(tmp_path / "colour.png"))
    assert torch.equal(colour, torch.from_numpy(pixels).permute(2, 0, 1))
    grey = ImageReader((3, 4, 6))(str(tmp_path / "grey.png"))
    assert torch.equal(grey, colour[:1].expand(3, 4, 6))
    luma = ImageReader((1, 4, 6))(str(tmp_path / "colour.png"))
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)  # ITU-R 601-2
    assert (luma - (weights * colour).sum(0)).abs().max() <= 1


def test_images_that_the_model_cannot_take_are_named_with_the_remedy(tmp_path):
    Image.new("L", (6, 4)).save(tmp_path / "wide.png")
    Image.fromarray(np.full((8, 8), 40000, dtype=np.uint16)).save(tmp_path / "deep.png")
    for read in (GREY, GREY.check):
        with pytest.raises(InputError, match=r"^\S*wide.png has 6 x 4 pixels: this model takes 8 x 8: resize"):
            read(str(tmp_path / "wide.png"))
        with pytest.raises(InputError, match=r"^\S*deep.png has more than 8 bits a channel .*: convert the images to 8 bits$"):
            read(str(tmp_path / "deep.png"))


@pytest.mark.filterwarnings("ignore:.*EXIF data.*:UserWarning")  # Pillow says of a cut TIFF what else it misses
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tiff"])
def test_a_file_cut_at_any_byte_is_named_or_read_never_anything_else_and_checking_agrees(suffix, tmp_path):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)
    whole, refused = path.read_bytes(), 0
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        messages = []
        for read in (GREY, GREY.check):
            try:
                read(str(path))
            except InputError as error:
                messages.append(str(error))
        assert len(messages) in (0, 2)  # some cuts leave a whole image
        assert all(path.name in message for message in messages)
        refused += bool(messages)
    assert len(whole) / 2 < refused <= len(whole)


def test_resizing_keeps_the_middle_and_does_not_alias(tmp_path):
    # Stripes of one pixel between two white fields: a resize that picks pixels would give black or white.
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (40, 40))
    stripes[:, :20] = stripes[:, -20:] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    small = ImageReader((1, 5, 5), resize=True)(str(tmp_path / "stripes.png"))
    assert small.shape == (1, 5, 5)
    assert (small.float() - 127.5).abs().max() < 20
