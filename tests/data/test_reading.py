import numpy as np
import pytest
import torch
from PIL import Image

from sll_zoo import create_model
from sll_zoo.data.reading import ImageReader, load_images, size_of
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
        with pytest.raises(InputError, match=r"^\S*wide.png .*6 x 4 .*8 x 8"):
            read(str(tmp_path / "wide.png"))
        with pytest.raises(InputError, match=r"^\S*deep.png .*I;16"):
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


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_was_held(suffix, orientation, tmp_path):
    path, upright = tmp_path / f"x.{suffix}", np.zeros((8, 16), dtype=np.uint8)
    upright[:4, :8] = 255  # white at the top left, as it should be seen
    # How a camera stores that, by the EXIF standard: row 0 and column 0 are which sides of what is seen.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: upright[:, ::-1].T,
        7: upright[::-1, ::-1].T,
        8: upright[::-1].T,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    read = ImageReader((1, *size_of(str(path))))
    assert (read(str(path))[0].float() - torch.from_numpy(upright).float()).abs().max() < 10
    read.check(str(path))
    tall = ImageReader((1, 16, 8))
    for refuse in (tall, tall.check):
        with pytest.raises(InputError, match=f"x.{suffix} .*16 x 8 "):
            refuse(str(path))


@pytest.mark.filterwarnings("ignore")  # Pillow says of damaged EXIF data what it skips
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_damaged_exif_data_end_in_an_image_or_in_a_mistake_with_the_files_name(suffix, tmp_path):
    random, path = np.random.default_rng(0), tmp_path / f"x.{suffix}"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "maker", 72.5
    Image.fromarray(random.integers(0, 256, (8, 4), dtype=np.uint8)).save(path, exif=exif)
    whole, read = path.read_bytes(), ImageReader((1, 4, 8))
    for _ in range(300):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[random.integers(0, len(whole), 3)] = random.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        messages = []
        for step in (read, read.check):
            try:
                step(str(path))
            except InputError as error:
                messages.append(str(error))
        assert all(path.name in message for message in messages)


def test_resizing_keeps_the_middle_and_does_not_alias(tmp_path):
    # Stripes of one pixel between two white fields: a resize that picks pixels would give black or white.
    stripes = np.tile(np.array([0, 255], dtype=np.uint8), (40, 40))
    stripes[:, :20] = stripes[:, -20:] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    small = ImageReader((1, 5, 5), resize=True)(str(tmp_path / "stripes.png"))
    assert small.shape == (1, 5, 5)
    assert (small.float() - 127.5).abs().max() < 20


def test_a_photograph_is_no_sequence_of_single_pixels(tmp_path):
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "digit.png")
    model = create_model("sll_rnn_nano.digits_by_pixel")
    with pytest.raises(InputError, match="64 x 1"):
        load_images(tmp_path / "digit.png", model)
