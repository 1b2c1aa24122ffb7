"""A user's own images, from the command line to a trained network."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from sll_zoo.cli.main import main
from tests.folders import write_images


@pytest.fixture
def arguments(digits, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "mine", *digits.tensors("test"))
    data = ["--data", "ImageFolder", "--data.root", "mine", "--data.channels", "1", "--data.batch_size", "20"]
    return ["fit", "--model.name", "sll_nano.digits", *data, "--trainer.accelerator", "cpu", "--trainer.fast_dev_run", "2"]


@pytest.mark.parametrize("options", [["--data.in_memory", "true"], ["--data.num_workers", "0"]], ids=["in memory", "files"])
def test_a_folder_of_own_images_is_trained_on_and_a_damaged_one_is_told_before(arguments, options, tmp_path, capsys):
    assert main([*arguments, *options]) == 0
    path = tmp_path / "mine" / "3" / sorted((tmp_path / "mine" / "3").iterdir())[0].name
    path.write_bytes(path.read_bytes()[:60])
    capsys.readouterr()
    assert main([*arguments, *options]) == 2
    captured = capsys.readouterr()
    assert f"sll-zoo: {path.relative_to(tmp_path)} " in captured.err
    assert "Epoch" not in captured.out


def test_a_batch_that_the_images_do_not_fill_is_told(arguments, capsys):
    assert main([*arguments, "--data.batch_size", "325", "--data.in_memory", "true"]) == 2
    assert "batch_size=325" in capsys.readouterr().err


def test_a_configuration_of_images_that_are_not_square(digits, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "mine", *digits.tensors("test"))
    config = {
        "model": {"name": "sll_nano.digits", "model_args": {"img_size": [6, 12]}},
        "data": {
            "class_path": "sll_zoo.data.ImageFolder",
            "init_args": {"root": "mine", "channels": 1, "image_size": [6, 12], "batch_size": 20, "in_memory": True},
        },
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": 1,
            "limit_train_batches": 1,
            "callbacks": [{"class_path": "sll_zoo.training.callbacks.SavePretrained", "init_args": {"folder": "out"}}],
        },
    }
    Path("wide.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", "wide.yaml"]) == 0
    record = json.loads(Path("out/config.json").read_text("utf-8"))
    assert record["pretrained_cfg"]["input_size"] == [1, 6, 12]
    prepared = "cropped to 12:6 at the middle, resized to 12 × 6 pixels (bicubic), made grey"
    assert record["certified"]["measured"]["preparation"] == prepared
    write_images(tmp_path / "wide", torch.rand(4, 1, 6, 12), torch.arange(4) % 2)
    capsys.readouterr()
    assert main(["certify", "local-dir:out", "wide"]) == 0
    assert "4 images in" in capsys.readouterr().out
