"""``ckpt:PATH``, the network of a checkpoint that a training wrote, ended or not."""

import signal

import pytest
import torch

import sll_zoo
from sll_zoo import CertifiedClassifier
from sll_zoo.errors import ConfigError, SllZooError, UntrainedHeadWarning, WeightsError
from sll_zoo.training.callbacks import Interrupted
from tests.training.loop import At, signal_at, train, trainer


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of a training with averaged weights that was interrupted in its second epoch, and what it validates."""
    folder, averages = tmp_path_factory.mktemp("trained"), []
    run = trainer(folder, signal_at(5, signal.SIGTERM))
    averaging = run.callbacks[0]
    run.callbacks.insert(1, At(5, lambda _: averages.append(averaging._average_model.module.model.state_dict())))
    with pytest.raises(Interrupted):
        train(run)
    return folder / "last.ckpt", averages[-1]


@pytest.fixture
def spoilt(trained, tmp_path):
    """A copy that a test may change: call it with what is to be done to the checkpoint."""

    def copy(edit):
        checkpoint = torch.load(trained[0], weights_only=True)
        edit(checkpoint)
        torch.save(checkpoint, tmp_path / "copy.ckpt")
        return tmp_path / "copy.ckpt"

    return copy


def test_the_weights_are_those_that_are_validated_not_those_that_are_stepped(trained):
    path, averages = trained
    model = sll_zoo.create_model(f"ckpt:{path}", pretrained=True)
    assert isinstance(model, type(sll_zoo.create_model("sll_nano.digits")))
    for key, value in model.state_dict().items():
        assert torch.equal(value, averages[key])
    stepped = torch.load(path, weights_only=True)["current_model_state"]
    assert not torch.equal(stepped["model.convs.0.weight"], model.convs[0].weight)
    assert not torch.equal(sll_zoo.create_model(f"ckpt:{path}").convs[0].weight, model.convs[0].weight)


def test_another_head_is_untrained_and_other_sizes_are_refused(trained):
    path, averages = trained
    with pytest.warns(UntrainedHeadWarning, match=r" 3 .* 10\)"):
        task = CertifiedClassifier(f"ckpt:{path}", pretrained=True, model_args={"num_classes": 3}, head_only=True)
    assert torch.equal(task.model.convs[0].weight, averages["convs.0.weight"])
    assert task.start == "ckpt:last.ckpt"
    assert task.hparams["model_args"]["num_classes"] == 3
    assert str(path.parent) not in str(task.hparams)
    with pytest.raises(ConfigError, match=r"\(1, 16, 16\)"):
        sll_zoo.create_model(f"ckpt:{path}", pretrained=True, img_size=16)
    with pytest.raises(WeightsError, match=r"convs\.3\."):
        sll_zoo.create_model(f"ckpt:{path}", pretrained=True, conv_layers=3)


def test_a_folder_and_a_publication_are_made_of_it(trained, tmp_path):
    path, _ = trained
    assert sll_zoo.pull(f"ckpt:{path}") == path.parent
    (tmp_path / "curve.png").write_text("of another model")
    folder = sll_zoo.pull(f"ckpt:{path}", tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    x = torch.rand(3, 1, 8, 8)
    wanted = sll_zoo.create_model(f"ckpt:{path}", pretrained=True)(x)
    assert torch.equal(sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)(x), wanted)
    for source in (str(path), f"ckpt:{path}"):
        assert "model.safetensors" in sll_zoo.publish(source, "zoo/trained", dry_run=True).files
    assert str(path.parent) not in (folder / "config.json").read_text()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda c: c["state_dict"]["model.head.bias"].fill_(torch.nan), r"copy.ckpt .*NaN.*head\.bias"),
        (lambda c: c["state_dict"].pop("model.head.bias"), "head.bias .*absent"),
        (lambda c: c["state_dict"].update({"model.head.bias": 3}), "head.bias .*absent"),
        (lambda c: c["hyper_parameters"].update(name="ckpt:copy.ckpt"), "copy.ckpt .*no checkpoint"),
        (lambda c: c["hyper_parameters"].update(name=3), "copy.ckpt .*no checkpoint"),
        (lambda c: c["hyper_parameters"].update(name="resnet18"), "'resnet18'"),
        (lambda c: c["hyper_parameters"].update(model_args={"checkpoint_path": "/x"}), "checkpoint_path"),
        (lambda c: c["hyper_parameters"].update(model_args={"width": 10**9}), "fit .*100000000"),
        (lambda c: c["hyper_parameters"].update(model_args={"conv_layers": 10**9}), "fit .*100000000"),
        (lambda c: c["hyper_parameters"].update(model_args={"width": "8"}), "width='8'"),
    ],
)
def test_what_is_damaged_or_a_strangers_is_refused_in_a_sentence(spoilt, edit, words):
    with pytest.raises(SllZooError, match=words):
        sll_zoo.create_model(f"ckpt:{spoilt(edit)}", pretrained=True)


def test_a_file_that_is_cut_off_or_runs_code_or_is_not_there_is_refused(trained, tmp_path):
    content = trained[0].read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: len(content) // 2])
    torch.save({"state_dict": {}, "hyper_parameters": {"name": trainer}}, tmp_path / "code.ckpt")
    for name, words in (("cut", "no checkpoint"), ("code", "no checkpoint"), ("none", "exist")):
        with pytest.raises(WeightsError, match=f"{name}.ckpt .*{words}.*sll-zoo fit"):
            sll_zoo.create_model(f"ckpt:{tmp_path / name}.ckpt", pretrained=True)


def test_checkpoints_of_a_time_when_they_named_folders_and_no_arguments_still_load(spoilt, folder):
    plain = spoilt(lambda c: c["hyper_parameters"].update(name="sll_nano.digits", model_args=None))
    assert sll_zoo.create_model(f"ckpt:{plain}", pretrained=True).config == sll_zoo.create_model("sll_nano.digits").config
    named = spoilt(lambda c: c["hyper_parameters"].update(name=f"local-dir:{folder}", model_args={"num_classes": 10}))
    CertifiedClassifier.load_from_checkpoint(named)
    sll_zoo.create_model(f"ckpt:{named}", pretrained=True)
