"""A user's own images, from the command line to a trained network."""

import pytest

from sll_zoo.cli import main
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
    assert f"sll-zoo: {path.relative_to(tmp_path)} cannot be read" in captured.err
    assert "Epoch" not in captured.out


def test_a_batch_that_the_images_do_not_fill_is_told(arguments, capsys):
    assert main([*arguments, "--data.batch_size", "325", "--data.in_memory", "true"]) == 2
    assert "batch_size=325 for 324 images to train on: give at most 324" in capsys.readouterr().err
