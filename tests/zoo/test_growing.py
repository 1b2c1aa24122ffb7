"""``grow`` by name and by configuration, and ``sll-zoo grow``, which writes a folder that a training starts from."""

from dataclasses import replace

import pytest
import torch

import sll_zoo
from sll_zoo.cli.main import main
from sll_zoo.errors import ConfigError, InputError, UnknownNameError
from sll_zoo.models.labels import label_names
from sll_zoo.zoo.folder import ModelFolder
from sll_zoo.zoo.publishing.save import save_pretrained
from tests import tolerances as tol

NAME = "sll_nano.digits"
SMALL = {"width": 6, "conv_layers": 2, "conv_inner": 12, "dense_layers": 2, "dense_inner": 100}


@pytest.fixture
def small():
    torch.manual_seed(0)
    return sll_zoo.create_model(NAME, **SMALL)


@pytest.fixture
def folder(small, tmp_path):
    save_pretrained(small, tmp_path / "small", label_names=tuple("0123456789"))
    return tmp_path / "small"


def test_a_name_gives_a_network_that_can_be_saved_and_keeps_images_classes_and_names(tmp_path):
    model = sll_zoo.create_model(NAME, pretrained=True)
    large = sll_zoo.grow(model, "sll_nano", width=12, conv_inner=24)
    assert label_names(large) == label_names(model) == tuple("0123456789")
    assert (large.config.in_chans, large.config.mean) == (1, model.config.mean)
    record = save_pretrained(large, tmp_path / "large", label_names=label_names(large))
    assert record.name == NAME
    loaded = sll_zoo.create_model(f"local-dir:{tmp_path}/large", pretrained=True)
    images = torch.rand(4, 1, 8, 8)
    assert loaded.config == large.config
    assert torch.equal(loaded(images), large(images))


def test_other_classes_are_kept(small):
    small.reset_classifier(3)
    assert sll_zoo.grow(small, "sll_nano", conv_layers=2, dense_layers=2).num_classes == 3


def test_a_configuration_gives_a_network_without_a_name(small):
    large = sll_zoo.grow(small, replace(small.config, width=7))
    assert large.config.width == 7
    with pytest.raises(ConfigError, match="width"):
        sll_zoo.grow(small, small.config, width=7)


@pytest.mark.parametrize(
    ("target", "arguments", "error", "words"),
    [
        ("sll_nan0", {}, UnknownNameError, "sll_nan0"),
        ("sll_nano", {"conv_layers": 1}, ConfigError, "conv_layers=2 to 1"),
        ("sll_nano", {"wide": 1}, ConfigError, "wide"),
        ("sll_nano", {"width": 6}, ConfigError, "images"),
        ("cpl_nano", {}, ConfigError, "family"),
    ],
)
def test_what_cannot_be_is_refused(small, target, arguments, error, words):
    with pytest.raises(error, match=words):
        sll_zoo.grow(small, target, **arguments)


def test_images_that_are_not_in_0_1_and_other_modules_are_refused(small):
    for images in (255 * torch.rand(4, 1, 8, 8), torch.full((4, 1, 8, 8), torch.nan)):
        with pytest.raises(InputError):
            sll_zoo.grow(small, "sll_nano", images, width=6)
    with pytest.raises(InputError, match="Linear"):
        sll_zoo.grow(torch.nn.Linear(2, 2), "sll_nano")


def test_the_command_grows_shipped_weights_by_sizes(tmp_path):
    assert main(["grow", NAME, NAME, "--model_args", "width=12", "conv_inner=20", "--out", str(tmp_path / "large")]) == 0
    large, small = (sll_zoo.create_model(name, pretrained=True) for name in (f"local-dir:{tmp_path}/large", NAME))
    images = torch.rand(4, 1, 8, 8)
    assert (large.config.width, large.config.conv_inner) == (12, 20)
    torch.testing.assert_close(large(images), small(images), rtol=0, atol=tol.FLOAT32)


def test_a_network_with_a_hook_is_refused(small):
    small.denses[0].register_forward_hook(lambda *_: None)
    with pytest.raises(ConfigError, match="hook"):
        sll_zoo.grow(small, "sll_nano")


def test_the_command_writes_a_folder_of_the_same_function_that_a_training_starts_from(small, folder, tmp_path, capsys):
    assert main(["grow", f"local-dir:{folder}", "sll_nano", "--out", str(tmp_path / "large")]) == 0
    assert str(tmp_path / "large") in capsys.readouterr().out
    large = sll_zoo.create_model(f"local-dir:{tmp_path}/large", pretrained=True)
    images = torch.rand(4, 1, 8, 8)
    torch.testing.assert_close(large(images), small(images), rtol=0, atol=tol.FLOAT32)
    assert large.config == sll_zoo.create_model(NAME).config
    saved = ModelFolder.read(tmp_path / "large")
    assert (saved.known().measured, saved.known().parameters) == (None, 207_242)
    assert "Grown from small" in (tmp_path / "large/README.md").read_text("utf-8")
    assert sll_zoo.CertifiedClassifier(f"local-dir:{tmp_path}/large", pretrained=True).start == "local-dir:large"


def test_the_command_takes_training_images_for_more_layers_of_the_same_width(tmp_path, capsys):
    shipped = sll_zoo.create_model(NAME, pretrained=True)
    shallow = sll_zoo.create_model(NAME, conv_layers=3, dense_layers=2)
    save_pretrained(shallow, tmp_path / "small", label_names=tuple("0123456789"))
    command = ["grow", f"local-dir:{tmp_path}/small", NAME, "--out", str(tmp_path / "large")]
    assert main(command) == 2
    assert "--data" in capsys.readouterr().err
    assert not (tmp_path / "large").exists()
    assert main([*command, "--data", "digits"]) == 0
    large = sll_zoo.create_model(f"local-dir:{tmp_path}/large", pretrained=True)
    assert large.config == shipped.config
    images = sll_zoo.data.Digits().tensors("test")[0]
    with torch.no_grad():
        assert (large(images).argmax(1) == shallow(images).argmax(1)).double().mean() > 0.97


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([NAME, "sll_tiny", "--out", "x"], "width"),
        (["sll_nan0", "sll_tiny", "--out", "x"], "sll_nan0"),
        ([NAME, "sll_nano", "--out", "x", "--data", "mnist", "--model_args", "conv_layers=9"], "mnist"),
        ([NAME, "sll_nano", "--out", "x", "--model_args", "wide=9"], "wide"),
        ([NAME, "sll_nano", "--out", "file"], "file"),
    ],
)
def test_a_mistake_is_a_line_and_nothing_is_written(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["grow", *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
