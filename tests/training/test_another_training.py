"""A training goes on from a checkpoint of its own, not from one of another that lies in the same folder."""

import json
import re
from pathlib import Path

import pytest
import torch
from lightning import Trainer

from sll_zoo import CertifiedClassifier
from sll_zoo.cli.main import main
from sll_zoo.data import Digits
from sll_zoo.training.callbacks import ResumableCheckpoint
from sll_zoo.training.checkpoint_files import TRAINING_KEY

LAST = "outputs/sll_nano.digits/checkpoints/last.ckpt"
FIT = ["fit", "--model.name", "sll_nano.digits", "--data", "Digits", "--trainer.accelerator", "cpu"]
FIT += ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.enable_progress_bar", "false"]
FIT += ["--trainer.limit_val_batches", "1", "--trainer.logger", "false", "--trainer.enable_model_summary", "false"]


@pytest.fixture(autouse=True)
def _run_in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def stated(path):
    return json.loads(Path(path).read_text("utf-8"))


def test_a_checkpoint_of_another_training_is_refused_with_the_first_difference(tmp_path, capsys):
    assert main(FIT) == 0
    before = (tmp_path / LAST).read_bytes()
    rate = ["--model.optimizer", "torch.optim.Adam", "--model.optimizer.lr", "1e-9"]
    for options, difference in (
        (["--seed_everything", "7"], "seed_everything 0 .* 7"),
        (rate, "model.optimizer 'sll_zoo.training.task.paper_optimizer' .* {'class_path': 'torch.optim.Adam'"),
        (["--model.model_args", "{num_classes: 3}"], "model.model_args None .* {'num_classes': 3}"),
        (["--data.batch_size", "32"], "data.init_args.batch_size 64 .* 32"),
        (["--trainer.max_epochs", "2"], "trainer.max_epochs 1 .* 2"),
    ):
        for path in ("last", LAST):
            assert main([*FIT, *options, "--ckpt_path", path]) == 2
            told = capsys.readouterr().err.replace(f"{tmp_path}/", "")
            assert re.match(rf"sll-zoo: {LAST} .*{difference}", told)
            assert f"--model.name ckpt:{LAST} --model.pretrained true" in told
    assert (tmp_path / LAST).read_bytes() == before


def test_where_and_how_a_training_goes_on_may_differ(tmp_path):
    assert main([*FIT, "--trainer.max_epochs", "2", "--trainer.limit_val_batches", "0"]) == 0
    assert torch.load(LAST, weights_only=True)[TRAINING_KEY]["trainer"]["max_epochs"] == 2
    other = ["--trainer.max_epochs", "2", "--trainer.log_every_n_steps", "1", "--trainer.default_root_dir", str(tmp_path)]
    assert main([*FIT, *other, "--ckpt_path", "last"]) == 0


def test_a_checkpoint_from_python_says_of_no_training_and_serves(tmp_path):
    options = {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 0, "logger": False, "enable_progress_bar": False}
    run = Trainer(accelerator="cpu", callbacks=[ResumableCheckpoint(str(tmp_path / "python"))], **options)
    run.fit(CertifiedClassifier("sll_nano.digits"), datamodule=Digits())
    path = tmp_path / "python" / "last.ckpt"
    assert TRAINING_KEY not in torch.load(path, weights_only=True)
    assert main([*FIT, "--seed_everything", "7", "--trainer.callbacks", "[]", "--ckpt_path", str(path)]) == 0


def test_a_new_training_starts_from_the_weights_of_another_and_goes_on_from_its_own(tmp_path):
    assert main(FIT) == 0
    new = [*FIT, "--model.name", f"ckpt:{LAST}", "--model.pretrained", "true", "--trainer.max_epochs", "2"]
    new += ["--checkpoints.folder", "new", "--trainer.callbacks", "sll_zoo.training.callbacks.SavePretrained"]
    new += ["--trainer.callbacks.folder", "saved", "--model.head_only", "true"]
    assert main(new) == 0
    assert stated("saved/config.json")["certified"]["training"]["start"] == "ckpt:last.ckpt"
    began, ended = (torch.load(path, weights_only=True) for path in (LAST, "new/last.ckpt"))
    assert ended["hyper_parameters"]["name"] == "sll_nano.digits"
    assert torch.equal(began["state_dict"]["model.convs.0.weight"], ended["state_dict"]["model.convs.0.weight"])
    assert not torch.equal(began["state_dict"]["model.head.weight"], ended["state_dict"]["model.head.weight"])
    assert main([*new, "--ckpt_path", "last"]) == 0
    # The first checkpoint is deleted, and its name has no published weights: the new checkpoint has all that is needed.
    (tmp_path / LAST).unlink()
    assert main(["test", *new[1:], "--ckpt_path", "new/last.ckpt"]) == 0
