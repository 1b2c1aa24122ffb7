"""Lightning's own searches, of the learning rate and of the batch size."""

import warnings

import pytest
import torch
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.tuner import Tuner
from torch.optim.optimizer import register_optimizer_step_pre_hook

from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits
from sll_zoo.errors import ConfigError
from sll_zoo.training.callbacks import FiniteWatch, ResumableCheckpoint, SavePretrained, SeededBatches
from sll_zoo.training.schedules import OneCycle, WarmupCosineLR
from tests.marks import slow_but
from tests.training.test_task import trainer

SMALL = {"num_training": 20, "min_lr": 1e-4}
OPTIMIZERS = {
    "default": {},
    "injected": {"optimizer": lambda parameters: torch.optim.SGD(parameters, lr=0.5)},
    "scheduled": {"scheduler": WarmupCosineLR, "layer_decay": 0.5},
    "one cycle": {"optimizer": lambda parameters: torch.optim.AdamW(parameters, lr=0.5), "scheduler": OneCycle},
}


def rates_of(run, task):
    """Train, and return the largest rate of each step, the head's."""
    seen = []

    def note(optimizer, *_):
        seen.append(max(group["lr"] for group in optimizer.param_groups))

    handle = register_optimizer_step_pre_hook(note)
    try:
        run.fit(task, datamodule=Digits())
    finally:
        handle.remove()
    return seen


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*weights_only. was not set")
        yield


@pytest.mark.parametrize("options", slow_but(["default", "scheduled"], OPTIMIZERS))
def test_the_training_after_the_search_has_the_suggested_rate_at_its_peak(options, tmp_path):
    run = trainer(tmp_path, max_epochs=2, limit_val_batches=0, enable_checkpointing=False)
    task = CertifiedClassifier("sll_nano.digits", **OPTIMIZERS[options])
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    found = Tuner(run).lr_find(task, datamodule=Digits(), **SMALL)
    assert task.lr == found.suggestion()
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())
    seen = rates_of(run, task)
    assert len(seen) == run.global_step == 36
    assert max(seen) == pytest.approx(found.suggestion(), rel=0.05)
    assert min(seen) < 0.2 * max(seen)  # the schedule is as it was
    assert list(tmp_path.iterdir()) == []


def test_the_callbacks_of_a_training_are_no_hindrance_and_save_nothing_in_the_search(tmp_path):
    ours = [SeededBatches(), FiniteWatch(), ResumableCheckpoint(str(tmp_path / "checkpoints"))]
    run = trainer(tmp_path, max_epochs=2, callbacks=[*ours, SavePretrained(str(tmp_path / "saved"))])
    task = CertifiedClassifier("sll_nano.digits")
    Tuner(run).lr_find(task, datamodule=Digits(), **SMALL)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".lock"]
    run.fit(task, datamodule=Digits())
    assert (tmp_path / "checkpoints" / "last.ckpt").exists()
    assert (tmp_path / "saved" / "model.safetensors").exists()


def test_the_finder_among_the_callbacks_sets_the_rate_of_the_training_that_it_begins(tmp_path):
    finder = LearningRateFinder(num_training_steps=20, min_lr=1e-4)
    run = trainer(tmp_path, max_epochs=2, limit_val_batches=0, enable_checkpointing=False, callbacks=[finder])
    task = CertifiedClassifier("sll_nano.digits")
    seen = rates_of(run, task)[20:]
    assert len(seen) == 36
    assert max(seen) == pytest.approx(finder.optimal_lr.suggestion(), rel=0.05)


def test_a_search_of_the_batch_size_finds_one_or_says_how_many_images_there_are(tmp_path):
    run, data = trainer(tmp_path, max_epochs=1, enable_checkpointing=False), Digits()
    task = CertifiedClassifier("sll_nano.digits")
    assert Tuner(run).scale_batch_size(task, datamodule=data, init_val=256, max_val=600, steps_per_trial=1) == 1024
    assert data.batch_size == 1024
    run.fit(task, datamodule=data)
    with pytest.raises(ConfigError, match=r"batch_size=.* 1200 .*max_val=600"):
        Tuner(run).scale_batch_size(task, datamodule=Digits(), init_val=1024, steps_per_trial=1)
