import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import RichProgressBar

from sll_zoo.cli.main import main
from sll_zoo.training.callbacks import (
    FiniteWatch,
    ImageProgressBar,
    LogDiagnostics,
    SeededBatches,
    TrainingReport,
    WriteCertificates,
)
from sll_zoo.training.callbacks.defaults import with_defaults

FIT = ["fit", "--model.name=sll_nano.digits", "--data=Digits", "--trainer.max_epochs=1", "--trainer.log_every_n_steps=5"]


@pytest.fixture(autouse=True)
def _run_in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def test_the_command_line_reports_beside_its_log(capsys):
    assert main(FIT) == 0
    captured = capsys.readouterr().out
    folder = Path("outputs/lightning_logs/version_0")
    assert f"wrote {folder}/metrics.json and {folder}/curves.png" in captured
    assert "images/s" in captured
    logged = (folder / "metrics.csv").read_text().splitlines()[0].split(",")
    final = json.loads((folder / "metrics.json").read_text("utf-8"))["final"]
    for name in ("train/grad_norm", "train/lr", "train/loss", "val/mean_radius", "log_q_spread/convs.0"):
        assert name in logged
        assert name in final


@pytest.mark.parametrize("option", ["--trainer.logger=false", "--trainer.enable_progress_bar=false"])
def test_what_the_user_switches_off_stays_off(option, capsys):
    assert main([*FIT, option, "--trainer.enable_checkpointing=false"]) == 0
    assert ("images/s" in capsys.readouterr().out) == ("logger" in option)
    # config.yaml is written by LightningCLI in any case.
    assert [path.name for path in Path().iterdir()] == (["outputs"] if "progress_bar" in option else ["config.yaml"])


def test_a_callback_that_is_given_takes_the_place_of_ours():
    given = [RichProgressBar(), WriteCertificates("mine.csv")]
    callbacks = with_defaults(given)
    assert callbacks[:2] == given
    assert [type(callback) for callback in callbacks[2:]] == [LogDiagnostics, TrainingReport, SeededBatches, FiniteWatch]
    assert [type(callback) for callback in with_defaults([], progress_bar=False)].count(ImageProgressBar) == 0


def test_a_report_that_the_user_asks_for_is_the_only_one(capsys):
    assert main([*FIT, "--trainer.callbacks+=TrainingReport", "--trainer.callbacks.folder=mine"]) == 0
    assert capsys.readouterr().out.count("wrote ") == 1
    assert sorted(path.name for path in Path("mine").iterdir()) == ["curves.png", "metrics.json"]
    assert not list(Path("outputs").glob("**/metrics.json"))


@pytest.mark.skipif(find_spec("wandb") is not None, reason="the package is there")
def test_a_logger_whose_package_is_not_there_says_which_to_install(capsys):
    assert main([*FIT, "--trainer.logger=WandbLogger"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sll-zoo")]
    assert "pip install" in line
    assert "wandb" in line
