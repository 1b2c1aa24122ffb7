import json

import pytest
import torch
from lightning import Callback, Trainer
from PIL import Image

from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits
from sll_zoo.training.callbacks import LogDiagnostics, TrainingReport


class Fails(Callback):
    """Ends the training in the second epoch, as a user or a mistake would."""

    def __init__(self, error):
        self.error = error

    def on_train_batch_end(self, trainer, *_):
        if trainer.current_epoch == 1:
            raise self.error


def trainer(folder, *callbacks, **options):
    quiet = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(default_root_dir=folder, callbacks=list(callbacks), limit_train_batches=3, **quiet, **options)


def read(folder):
    return json.loads((folder / "metrics.json").read_text("utf-8"))


def test_the_report_holds_every_epoch_and_draws_it(tmp_path):
    report = TrainingReport(str(tmp_path / "report"))
    run = trainer(tmp_path, LogDiagnostics(), report, max_epochs=2, log_every_n_steps=1)
    run.fit(CertifiedClassifier("sll_nano.digits"), datamodule=Digits())
    written = read(tmp_path / "report")
    assert [(row["epoch"], row["step"]) for row in written["history"]] == [(0, 3), (1, 6)]
    assert written["final"] == written["history"][1]
    assert all(row["epoch_seconds"] > 0 for row in written["history"])
    for name in ("val/acc", "val/mean_radius", "train/epoch_loss", "train/grad_norm", "log_q_spread/denses.0"):
        assert written["final"][name] == run.callback_metrics[name].item()
    # The last step of the triangle: its rate, not the 0 after it.
    assert written["final"]["train/lr"] == pytest.approx(0.01 * 0.05 * 0.5 / 1.2)
    with Image.open(tmp_path / "report" / "curves.png") as picture:
        assert min(picture.size) > 500
        assert len(picture.convert("L").getcolors()) > 10
    assert report.written == f"{tmp_path}/report/metrics.json and {tmp_path}/report/curves.png"


def test_the_loss_of_an_epoch_is_the_mean_over_its_images(tmp_path):
    losses = []

    class Keep(Callback):
        def on_train_batch_end(self, _trainer, _task, outputs, *_):
            losses.append(outputs["loss"].item())

    run = trainer(tmp_path, Keep(), TrainingReport(str(tmp_path)), max_epochs=1)
    run.fit(CertifiedClassifier("sll_nano.digits"), datamodule=Digits())
    assert read(tmp_path)["final"]["train/epoch_loss"] == pytest.approx(sum(losses) / 3, rel=1e-6)


def test_figures_of_a_validation_stand_in_its_own_epoch_alone(tmp_path):
    run = trainer(tmp_path, TrainingReport(str(tmp_path)), max_epochs=3, check_val_every_n_epoch=2)
    run.fit(CertifiedClassifier("sll_nano.digits"), datamodule=Digits())
    assert ["val/acc" in row for row in read(tmp_path)["history"]] == [False, True, False]


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_training_that_is_taken_up_again_has_the_whole_history(tmp_path):
    trainer(tmp_path, TrainingReport(str(tmp_path / "a")), max_epochs=1).fit(CertifiedClassifier("sll_nano.digits"), Digits())
    (checkpoint,) = tmp_path.glob("**/*.ckpt")
    torch.load(checkpoint, weights_only=True)
    again = trainer(tmp_path / "again", TrainingReport(str(tmp_path / "b")), max_epochs=2)
    again.fit(CertifiedClassifier("sll_nano.digits"), Digits(), ckpt_path=checkpoint, weights_only=True)
    first, whole = read(tmp_path / "a")["history"], read(tmp_path / "b")["history"]
    assert [row["epoch"] for row in whole] == [0, 1]
    assert whole[:1] == first


@pytest.mark.parametrize(("error", "raised"), [(RuntimeError("broken"), RuntimeError), (KeyboardInterrupt(), SystemExit)])
def test_a_training_that_is_cut_short_reports_what_it_has(error, raised, tmp_path):
    run = trainer(tmp_path, Fails(error), TrainingReport(str(tmp_path)), max_epochs=3)
    with pytest.raises(raised):
        run.fit(CertifiedClassifier("sll_nano.digits"), datamodule=Digits())
    assert [row["epoch"] for row in read(tmp_path)["history"]] == [0]
    assert (tmp_path / "curves.png").exists()


def test_a_dev_run_and_a_training_without_an_epoch_write_nothing(tmp_path):
    trainer(tmp_path, TrainingReport(str(tmp_path)), fast_dev_run=True).fit(CertifiedClassifier("sll_nano.digits"), Digits())
    report = TrainingReport(str(tmp_path))
    trainer(tmp_path, report, max_epochs=0).fit(CertifiedClassifier("sll_nano.digits"), Digits())
    assert report.written == ""
    assert not list(tmp_path.glob("*.json"))


def test_figures_that_json_does_not_have_are_null(tmp_path):
    class Infinite(CertifiedClassifier):
        def on_train_epoch_end(self):
            self.log("strange", float("nan"))

    trainer(tmp_path, TrainingReport(str(tmp_path)), max_epochs=2).fit(Infinite("sll_nano.digits"), Digits())
    assert read(tmp_path)["final"]["strange"] is None
    assert "NaN" not in (tmp_path / "metrics.json").read_text("utf-8")
