import csv
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.loggers import CSVLogger

from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits
from sll_zoo.training.callbacks import LogDiagnostics


class Steps(LogDiagnostics):
    """Keeps what each step logged, and what it is to be."""

    def __init__(self):
        self.norms = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        super().on_before_optimizer_step(trainer, pl_module, optimizer)
        gradients = torch.cat([parameter.grad.flatten() for parameter in pl_module.parameters()])
        self.norms.append((gradients.norm().item(), optimizer.param_groups[0]["lr"]))


def fit(folder, name="sll_nano.digits", **options):
    """Return what each step had, the task, and the rows of the log, without what is empty."""
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    steps, logger = Steps(), CSVLogger(folder)
    trainer = Trainer(callbacks=[steps], logger=logger, limit_train_batches=6, limit_val_batches=1, **quiet, **options)
    task = CertifiedClassifier(name)
    trainer.fit(task, datamodule=Digits())
    with (Path(logger.log_dir) / "metrics.csv").open(newline="") as file:
        return steps, task, [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def test_the_norm_is_that_before_clipping_and_comes_with_the_rate(tmp_path):
    steps, _, rows = fit(tmp_path, max_epochs=1, log_every_n_steps=2, gradient_clip_val=1e-3)
    logged = [(row["train/grad_norm"], row["train/lr"]) for row in rows if "train/grad_norm" in row]
    assert len(logged) == 3
    assert logged == [pytest.approx(expected, rel=1e-5) for expected in steps.norms[1::2]]
    assert all(norm > 1e-2 for norm, _ in logged)


def test_the_spread_of_log_q_comes_once_an_epoch_for_each_layer(tmp_path):
    _, task, rows = fit(tmp_path, max_epochs=2, log_every_n_steps=1)
    *_, spread = ({name: value for name, value in row.items() if name.startswith("log_q_spread/")} for row in rows)
    assert spread.keys() == {f"log_q_spread/{part}.{i}" for part, n in (("convs", 4), ("denses", 3)) for i in range(n)}
    for name, value in spread.items():
        log_q = task.model.get_submodule(name.removeprefix("log_q_spread/")).log_q
        assert 0 < value == pytest.approx((log_q.max() - log_q.min()).item(), rel=1e-6)
    assert sum("log_q_spread/convs.0" in row for row in rows) == 2


def test_a_family_without_log_q_has_a_norm_all_the_same(tmp_path):
    _, _, rows = fit(tmp_path, "aol_nano", max_epochs=1, log_every_n_steps=1)
    names = {name for row in rows for name in row}
    assert "train/grad_norm" in names
    assert not any("log_q" in name for name in names)


def test_nothing_is_logged_where_logging_is_switched_off(tmp_path):
    _, _, rows = fit(tmp_path, max_epochs=1, log_every_n_steps=0)
    assert not any("train/grad_norm" in row for row in rows)
