import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sll_zoo
from sll_zoo.cli.main import main
from sll_zoo.reports import explanation
from tests.reports.test_certification import Page


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Give two files, one of which is resized, in the current folder."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save("grey.png")
    Image.fromarray(random.integers(0, 256, (16, 24), dtype=np.uint8)).save("a & b.png")
    return ["grey.png", "a & b.png"]


def test_page_numbers_and_output_say_what_explain_found(pictures, pretrained, capsys):
    assert main(["explain", "sll_nano.digits", *pictures, "--out", "out"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == "page: out/explained.html"
    stated = json.loads(Path("out/explained.json").read_text("utf-8"))
    found = sll_zoo.explain(pretrained, sll_zoo.load_images(pictures, pretrained))
    page = Page(Path("out/explained.html").read_text("utf-8"))
    assert {"script", "link"} & set(page.tags) == {"link"}
    assert all(address.startswith("data:") for address in page.addresses)
    assert page.tags.count("img") == 4 * len(pictures)
    for place, (file, image) in enumerate(zip(pictures, stated["images"], strict=True)):
        assert (image["file"], image["preparation"] == "") == (file, file == "grey.png")
        assert image["class_name"] == str(found.prediction[place].item())
        assert image["counterfactual_class"] == str(found.counterfactual_prediction[place].item())
        lengths = {
            "radius": found.radius,
            "counterfactual_distance": found.counterfactual_distance,
            "pgd_distance": found.adversarial_distance,
            "gradient_norm": found.gradient_norm,
        }
        for name, values in lengths.items():
            assert image[name] == values[place].item()
            assert f"{image[name]:.4f}" in page.texts
            assert f"{image[name]:.4f}" in printed
        assert image["radius"] <= min(image["counterfactual_distance"], image["pgd_distance"])


@pytest.mark.usefixtures("pictures")
def test_where_nothing_was_found_the_page_says_so(pretrained):
    images = sll_zoo.load_images("grey.png", pretrained)
    found = sll_zoo.explain(pretrained, images)
    nowhere = torch.full_like(found.radius, torch.inf)
    found = replace(found, counterfactual=found.images, counterfactual_distance=nowhere, adversarial_distance=nowhere)
    rows = explanation.to_rows(pretrained, [Path("grey.png")], found)
    page = Page(explanation.write_explanation(Path("out"), "sll_nano.digits", rows, found).read_text("utf-8"))
    assert {"no other class against the gradient", "no other class found by PGD"} < set(page.texts)
    assert page.tags.count("img") == 2
    (image,) = json.loads(Path("out/explained.json").read_text("utf-8"))["images"]
    assert (image["counterfactual_distance"], image["pgd_distance"]) == (None, None)
    assert "none by PGD" in explanation.in_words(rows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing", "nowhere.png", "--out", "out"], "nowhere.png "),
        (["nothing", "grey.png", "--out", "out"], "'nothing'"),
        (["sll_nano.digits", "grey.png"], "--out"),
        (["sll_nano.digits", "--out", "out"], "IMAGE"),
        (["sll_nano.digits", "grey.png", "--out", "grey.png"], "grey.png is a file"),
    ],
)
@pytest.mark.usefixtures("pictures")
def test_a_mistake_is_one_line(arguments, words, capsys):
    try:
        status = main(["explain", *arguments])
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    assert (status, captured.out, len(captured.err.splitlines())) == (2, "", 1)
    assert words in captured.err
    assert not Path("out").exists()
