"""A task of a network that is given, not named, and what its checkpoints know of it."""

import shutil

import pytest
import torch

import sll_zoo
from sll_zoo import CertifiedClassifier
from sll_zoo.cli.main import main
from sll_zoo.data import Digits
from sll_zoo.errors import ConfigError, WeightsError
from sll_zoo.models import LipNet, LipNetConfig
from sll_zoo.training.callbacks import SavePretrained
from sll_zoo.zoo.folder import CHECKPOINTS
from tests.plants import Longer
from tests.training.test_task import trainer

SHAPE = LipNetConfig(width=4, conv_layers=1, conv_inner=2, dense_layers=1, dense_inner=4, in_chans=1, img_size=(8, 8), pool=2)


def fit(task, folder, **options):
    run = trainer(folder, **{"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1, **options})
    run.fit(task, datamodule=Digits())
    return run.checkpoint_callback.best_model_path if run.checkpoint_callback else None


def test_a_network_of_create_model_is_trained_as_it_is_and_its_checkpoint_builds_it_again(tmp_path):
    network = sll_zoo.create_model("sll_nano.digits", pretrained=True, conv_layers=4, num_classes=10)
    network.reset_classifier(10)
    task = CertifiedClassifier(network)
    assert task.model is network
    assert task.start is None
    before = network.denses[0].weight.detach().clone()
    path = fit(task, tmp_path)
    assert not torch.equal(network.denses[0].weight, before)
    x = torch.rand(3, 1, 8, 8)
    again = CertifiedClassifier.load_from_checkpoint(path, weights_only=True)
    assert torch.equal(again(x), task(x))
    assert again.hparams["name"] == "sll_nano.digits"
    assert torch.equal(sll_zoo.create_model(f"ckpt:{path}", pretrained=True)(x), task(x))


def test_another_shape_and_another_head_are_in_the_checkpoint(tmp_path):
    network = sll_zoo.create_model("sll_nano", num_classes=7, dense_layers=1, family="aol")
    network.reset_classifier(10)
    path = fit(CertifiedClassifier(network), tmp_path)
    assert CertifiedClassifier.load_from_checkpoint(path).model.config == network.config


def test_a_network_of_ones_own_is_trained_and_loads_when_it_is_given(tmp_path):
    task = CertifiedClassifier(Longer(SHAPE), head_only=True)
    path = fit(task, tmp_path)
    remedy = r"load_from_checkpoint\(PATH, name=model\)"
    with pytest.raises(ConfigError, match=remedy):
        CertifiedClassifier.load_from_checkpoint(path)
    with pytest.raises(WeightsError, match=remedy):
        sll_zoo.create_model(f"ckpt:{path}", pretrained=True)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(CertifiedClassifier.load_from_checkpoint(path, name=Longer(SHAPE))(x), task(x))


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        (LipNet(SHAPE), {"pretrained": True}, "pretrained=True"),
        (LipNet(SHAPE), {"model_args": {"width": 8}}, r"model_args=\{'width': 8\}"),
        (torch.nn.Linear(1, 1), {}, "Linear"),
    ],
)
def test_what_does_not_go_together_is_refused(name, arguments, words):
    with pytest.raises(ConfigError, match=words):
        CertifiedClassifier(name, **arguments)


def test_a_network_without_a_name_is_not_saved_which_is_said_before_the_training(tmp_path):
    run = trainer(tmp_path, max_epochs=1, callbacks=[SavePretrained(str(tmp_path / "saved"))])
    with pytest.raises(ConfigError, match=r"SavePretrained .*create_model"):
        run.fit(CertifiedClassifier(LipNet(SHAPE)), datamodule=Digits())
    assert run.global_step == 0


def test_a_checkpoint_outlives_the_folder_that_its_training_began_with(tmp_path):
    folder = shutil.copytree(CHECKPOINTS / "sll_nano.digits", tmp_path / "private" / "mine")
    task = CertifiedClassifier(f"local-dir:{folder}", pretrained=True)
    path = fit(task, tmp_path / "run")
    shutil.rmtree(folder)
    assert task.start == "local-dir:mine"
    assert b"private" not in path.encode()
    assert "private" not in str(torch.load(path, weights_only=True)["hyper_parameters"])
    x = torch.rand(3, 1, 8, 8)
    for again in (CertifiedClassifier.load_from_checkpoint(path), sll_zoo.create_model(f"ckpt:{path}", pretrained=True)):
        assert torch.equal(again(x), task(x))


def test_the_command_line_takes_names_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text(
        "model:\n  name:\n    class_path: sll_zoo.models.LipNet\n    init_args:\n      config:\n"
        "        class_path: sll_zoo.models.LipNetConfig\n"
        "        init_args: {width: 4, conv_layers: 1, conv_inner: 2, dense_layers: 1, dense_inner: 4}\ndata: Digits\n"
    )
    assert main(["fit", "--config", "own.yaml"]) == 2
    assert "CertifiedClassifier(model)" in capsys.readouterr().err
