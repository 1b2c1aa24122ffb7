"""What was done to images before they were certified, and which weights a training started from, are told to whoever reads on."""

import json

import numpy as np
import pytest
from lightning import Trainer

from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits, ImageFolder
from sll_zoo.training.callbacks import SavePretrained
from sll_zoo.zoo.records.card import render_card
from sll_zoo.zoo.records.record import from_dict
from tests.data.published import write_image

RESIZED = "cropped to a square at the middle, resized to 8 × 8 pixels (bicubic), made grey"


@pytest.fixture
def photographs(tmp_path):
    random = np.random.default_rng(0)
    for name in ("bird", "cat"):
        for index in range(10):
            write_image(tmp_path / "mine" / name / f"{index}.png", random, (9, 12))
    return ImageFolder(str(tmp_path / "mine"), batch_size=4, image_size=8, channels=1, augment="none", in_memory=True)


def saved(folder, data, **options):
    """Train for one epoch, and return the record and the card."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0, accelerator="cpu", **quiet)
    trainer.callbacks.append(SavePretrained(str(folder)))
    trainer.fit(CertifiedClassifier("sll_nano.digits", **options), datamodule=data)
    config, card = json.loads((folder / "config.json").read_text("utf-8")), (folder / "README.md").read_text("utf-8")
    assert card == render_card(from_dict(config["certified"]), config, "local-dir:.", [path.name for path in folder.iterdir()])
    return from_dict(config["certified"]), card


@pytest.mark.filterwarnings("ignore::sll_zoo.errors.UntrainedHeadWarning")
def test_the_card_of_a_fine_tuned_network_tells_that_images_were_resized_and_where_the_weights_began(photographs, tmp_path):
    record, card = saved(tmp_path / "out", photographs, pretrained=True, model_args={"num_classes": 2})
    assert (record.measured.preparation, record.training.start) == (RESIZED, "sll_nano.digits")
    assert f"\n\nImages were {RESIZED}; certificates are about these prepared images.\n\n|" in card
    assert ". It started from the weights of `sll_nano.digits`.\n" in card


def test_the_card_of_a_network_on_images_as_they_are_says_neither(tmp_path):
    record, card = saved(tmp_path / "out", Digits())
    assert (record.measured.preparation, record.training.start) == ("", None)
    assert "prepared" not in card
    assert "started from" not in card


def test_images_that_keep_their_pixels_need_no_words(tmp_path):
    prepared = [ImageFolder(str(tmp_path), channels=n, image_size=size).preparation for n in (3, 1) for size in (None, 8)]
    assert prepared == ["", RESIZED.removesuffix(", made grey"), "made grey", RESIZED]
    wide = ImageFolder(str(tmp_path), image_size=(24, 48)).preparation
    assert wide == "cropped to 48:24 at the middle, resized to 48 × 24 pixels (bicubic)"


def test_the_card_tells_that_groups_are_never_divided(photographs, tmp_path):
    data = ImageFolder(str(photographs.root), batch_size=4, image_size=8, channels=1, in_memory=True, groups=r"[a-z]+/\d")
    record, card = saved(tmp_path / "out", data, model_args={"num_classes": 2})
    assert record.measured.division == data.division
    assert "\n\nImages of one group are never divided among train, validation and test.\n\n|" in card
    assert photographs.division == Digits.division == ""
