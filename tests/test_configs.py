"""Every configuration is run, on a few images in the format of the real ones, by a network with a few channels."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from sll_zoo.cli.main import main
from sll_zoo.data import CIFAR10, CIFAR100, DATA_MODULES, TinyImageNet
from sll_zoo.zoo.tags import DATA_OF_TAG
from tests.checkouts import ROOT
from tests.data import published
from tests.marks import slow_but

CONFIGS = sorted(path.relative_to(ROOT) for path in ROOT.glob("configs/**/*.yaml"))
# Configurations of larger networks, which differ from that of sll_small in the name alone.
LARGER = [path for path in CONFIGS if path.stem in ("sll_medium", "sll_large", "sll_xlarge")]
SMALL = {"width": 12, "conv_layers": 1, "conv_inner": 2, "dense_layers": 1, "dense_inner": 8}


def read(path):
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


@pytest.fixture
def _in_a_folder_with_data(monkeypatch, tmp_path):
    """Work where ``data`` has each data set as it comes out of its archive, and a folder of class folders."""
    monkeypatch.chdir(tmp_path)
    for module, classes in ((CIFAR10, 10), (CIFAR100, 100)):
        reader = published.cifar(module.archive, tmp_path, classes)
        shutil.unpack_archive(tmp_path / reader.filename, "data")
        monkeypatch.setattr(module, "archive", reader)
        monkeypatch.setattr(module, "counts", {"train": 20, "test": 2})
    shutil.unpack_archive(published.tiny_imagenet(tmp_path), "data")
    for name, value in {"classes": 3, "train_images": 20, "test_images": 2}.items():
        monkeypatch.setattr(TinyImageNet, name, value)
    published.traffic_signs(Path("data/gtsrb/GTSRB/Training"))
    published.traffic_signs_to_test(Path("data/gtsrb/GTSRB/Final_Test/Images"), Path("data/gtsrb/GT-final_test.csv"))
    random = np.random.default_rng(0)
    for index in range(40):
        published.write_image(Path("data/images", "ab"[index % 2], f"{index}.png"), random, size=(40, 50))


@pytest.mark.usefixtures("_in_a_folder_with_data")
@pytest.mark.parametrize("path", slow_but(set(CONFIGS) - set(LARGER), CONFIGS), ids=str)
def test_every_configuration_runs_and_a_dev_run_saves_nothing(path, tmp_path, capsys):
    config = read(path)
    arguments = ["fit", "--config", str(ROOT / path), "--trainer.fast_dev_run", "2", "--trainer.accelerator", "cpu"]
    arguments += ["--trainer.enable_model_summary", "false", "--data.batch_size", "8"]
    shape = {} if config["model"].get("pretrained") or path.parts[1].startswith("digits") else SMALL
    if path.parts[1] == "tiny_imagenet":
        shape = SMALL | {"num_classes": TinyImageNet.classes, "width": 48}
    if path.stem.startswith("sortnet"):
        shape = {"width": 8}
    if path.stem == "bro_isometric":
        shape = SMALL | {"width": 48}  # the channels of a patch, since nothing is padded
    arguments += ["--model.model_args", json.dumps(config["model"].get("model_args", {}) | shape)]
    assert main(arguments) == 0
    assert not list(tmp_path.glob("**/*.safetensors"))
    assert "wrote" not in capsys.readouterr().out


@pytest.mark.parametrize("path", LARGER, ids=str)
def test_larger_networks_are_trained_as_the_small_one(path):
    small = (ROOT / path).with_name("sll_small.yaml").read_text("utf-8")
    assert (ROOT / path).read_text("utf-8") == small.replace("sll_small", path.stem)


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_a_configuration_saves_what_it_is_named_after(path):
    config = read(path)
    (save,) = (entry["init_args"] for entry in config["trainer"]["callbacks"] if entry["class_path"].endswith("SavePretrained"))
    assert save["folder"].startswith("outputs/")
    if len(path.parts) == 3 and path.parts[1] in DATA_OF_TAG:  # a configuration of weights to ship
        data_set, name = path.parts[1], f"{path.stem}.{path.parts[1]}"
        assert (config["model"]["name"], save["folder"]) == (name, f"outputs/{name}")
        assert config["data"]["class_path"] == f"sll_zoo.data.{DATA_MODULES.get(data_set, 'ImageFolder')}"


def test_there_is_one_for_each_size_of_the_paper_and_data_set():
    paper = {f"sll_{size}" for size in ("small", "medium", "large", "xlarge")}
    expected = {f"configs/{tag}/{name}.yaml" for name in paper for tag in ("cifar10", "cifar100", "tiny_imagenet")}
    assert expected <= set(map(str, CONFIGS))
