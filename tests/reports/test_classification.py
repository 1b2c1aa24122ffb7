import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

import sll_zoo
from sll_zoo.cli.main import main
from sll_zoo.errors import InputError
from tests.reports.test_certification import Page


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Give files of several sizes, modes and formats, by what is to be said of them, in the current folder."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (8, 8), dtype=np.uint8)
    turned = Image.Exif()
    turned[274] = 6
    Image.fromarray(noise).save("grey.png")
    Image.fromarray(random.integers(0, 256, (30, 40, 3), dtype=np.uint8)).save("photo.jpg")
    Image.fromarray(random.integers(0, 256, (16, 24), dtype=np.uint8)).save("turned.png", exif=turned)
    Image.fromarray(random.integers(0, 256, (8, 8, 4), dtype=np.uint8)).save("a & b.webp", lossless=True)
    fitted = "cropped to a square at the middle, resized to 8 × 8 pixels (bicubic)"
    return {
        "grey.png": (8, 8, ""),
        "photo.jpg": (40, 30, f"made grey, {fitted}"),
        "turned.png": (16, 24, f"turned upright as its EXIF data says, {fitted}"),
        "a & b.webp": (8, 8, "stripped of its transparency, made grey"),
    }


def test_classify_says_class_runner_up_and_radius_and_what_was_done(photographs, pretrained, capsys):
    assert main(["classify", "sll_nano.digits", *photographs]) == 0
    lines = capsys.readouterr().out.splitlines()
    images = sll_zoo.load_images(photographs, pretrained)
    certificate = sll_zoo.certify(pretrained, images)
    with torch.no_grad():
        first, second = pretrained(images).topk(2).indices.unbind(1)
    assert torch.equal(first, certificate.prediction)
    for place, (file, (width, height, preparation)) in enumerate(photographs.items()):
        said = f"{file}: {first[place]}, runner-up {second[place]}, L2 radius {certificate.radius[place]:.4f}"
        assert lines[2 * place : 2 * place + 2] == [said, f"  {width} x {height} pixels, {preparation or 'as they are'}"]
    assert "as the network sees it" in lines[-1]


def test_the_page_and_the_numbers_say_the_same(photographs, pretrained, capsys):
    assert main(["classify", "sll_nano.digits", *photographs, "--json", "--out", "out"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "page: out/classified.html\n"
    stated = json.loads(captured.out)
    assert stated == json.loads(Path("out/classified.json").read_text("utf-8"))
    radii = sll_zoo.certify(pretrained, sll_zoo.load_images(photographs, pretrained)).radius.tolist()
    assert [image["radius"] for image in stated["images"]] == radii
    assert [(image["width"], image["height"], image["preparation"]) for image in stated["images"]] == [*photographs.values()]
    page = Page(Path("out/classified.html").read_text("utf-8"))
    assert {"script", "link"} & set(page.tags) == {"link"}
    assert all(address.startswith("data:") for address in page.addresses)
    assert page.tags.count("img") == len(photographs)
    for image in stated["images"]:
        assert f"L2 radius {image['radius']:.4f}" in page.texts
        assert f"runner-up {image['runner_up_name']}" in page.texts
        wanted = f"{image['file']}, {image['width']} × {image['height']}"
        assert wanted + (f": {image['preparation']}" if image["preparation"] else "") in page.texts


@pytest.mark.usefixtures("photographs")
def test_classes_have_the_names_that_the_weights_came_with(capsys):
    assert main(["classify", "sll_tiny.cifar10", "photo.jpg", "--json"]) == 0
    (image,) = json.loads(capsys.readouterr().out)["images"]
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    assert (names[image["class_index"]], names[image["runner_up"]]) == (image["class_name"], image["runner_up_name"])
    assert image["preparation"] == "cropped to a square at the middle, resized to 32 × 32 pixels (bicubic)"


@pytest.mark.usefixtures("photographs")
def test_images_are_loaded_as_the_network_takes_them(pretrained):
    images = sll_zoo.load_images(Path("grey.png"), pretrained)
    assert torch.equal(images, sll_zoo.load_images(["grey.png"], pretrained))
    assert torch.equal(images, torch.from_numpy(np.array(Image.open("grey.png")) / np.float32(255))[None, None])
    wide = sll_zoo.create_model("sll_nano", img_size=(8, 24), in_chans=3)
    fitted = ImageOps.fit(Image.open("photo.jpg"), (24, 8), Image.Resampling.BICUBIC)
    expected = torch.from_numpy(np.array(fitted)).permute(2, 0, 1) / 255
    assert torch.equal(sll_zoo.load_images(["photo.jpg"], wide)[0], expected)
    with pytest.raises(InputError, match="no images"):
        sll_zoo.load_images([], pretrained)
    with pytest.raises(InputError, match=r"nowhere.png"):
        sll_zoo.load_images("nowhere.png", pretrained)


@pytest.mark.usefixtures("photographs")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["classify", "nothing", "nowhere.png"], "nowhere.png "),
        (["classify", "nothing", "."], "sll-zoo: . "),
        (["classify", "sll_nano.digits"], "IMAGE"),
        (["classify", "nothing", "grey.png"], "'nothing'"),
        (["classify", "sll_nano.digits", "grey.png", "cut.png"], "cut.png "),
        (["classify", "sll_nano.digits", "grey.png", "--out", "grey.png"], "grey.png is a file"),
        (["certify", "sll_nano.digits", "photo.jpg"], "`sll-zoo classify MODEL photo.jpg`"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, capsys):
    Path("cut.png").write_bytes(Path("grey.png").read_bytes()[:60])
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    assert (status, captured.out, len(captured.err.splitlines())) == (2, "", 1)
    assert words in captured.err
