import io

import pytest
import rich
from lightning import Trainer
from rich.progress import Progress

from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits
from sll_zoo.reports.progress import ImageRate
from sll_zoo.training.callbacks import ImageProgressBar, LogDiagnostics, TrainingReport
from tests.processes import on_ranks

QUIET = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_model_summary": False}


@pytest.fixture
def screen():
    """A terminal that keeps what is drawn on it."""
    text = io.StringIO()
    yield {"file": text, "force_terminal": True, "width": 200}
    rich.reconfigure()


def images_of(bar):
    """Return how many images a step has, by what the bar calls the task."""
    return {task.description.split()[0]: task.fields["images"] for task in bar.progress.tasks if "images" in task.fields}


def test_the_bar_shows_images_a_second_in_place_of_batches(screen):
    bar = ImageProgressBar(console_kwargs=screen)
    trainer = Trainer(max_epochs=1, callbacks=[bar], **QUIET)
    task = CertifiedClassifier("sll_nano.digits")
    trainer.fit(task, datamodule=Digits(batch_size=100))
    assert images_of(bar) == {"Epoch": 100, "Validation": 100}
    text = screen["file"].getvalue()
    assert "images/s" in text
    assert "it/s" not in text
    trainer.test(task, datamodule=Digits(batch_size=300), verbose=False)
    assert images_of(bar) == {"Testing": 300}
    trainer.predict(task, datamodule=Digits(batch_size=150))
    assert images_of(bar) == {"Predicting": 150}


def test_the_rate_is_that_of_steps_times_their_images():
    seconds = iter(range(1000))
    with Progress(ImageRate(), get_time=lambda: next(seconds), auto_refresh=False, disable=True) as progress:
        progress.add_task("", total=100)
        (task,) = progress.tasks
        for _ in range(10):
            progress.update(task.id, advance=1, images=300)
        assert str(ImageRate().render(task)) == f"{300 * task.speed:,.0f} images/s"


def trained(rank, folder):
    bar, report = ImageProgressBar(), TrainingReport(str(folder / f"report{rank}"))
    callbacks = [bar, LogDiagnostics(), report]
    options = {"limit_train_batches": 2, "log_every_n_steps": 1, "devices": 2, "strategy": "ddp"}
    trainer = Trainer(max_epochs=1, callbacks=callbacks, **options, **QUIET)
    trainer.fit(CertifiedClassifier("sll_nano.digits"), datamodule=Digits())
    metrics = {name: value.item() for name, value in trainer.callback_metrics.items()}
    return metrics, images_of(bar) if bar.progress else None, report.written


@pytest.mark.processes
def test_all_processes_count_and_the_first_alone_writes(tmp_path):
    (first, images, written), (second, none, nothing) = on_ranks(2, trained, tmp_path, tmp_path)
    assert images["Epoch"] == 64  # 32 of each process
    assert none is None
    assert (written, nothing) == (f"{tmp_path}/report0/metrics.json and {tmp_path}/report0/curves.png", "")
    assert not (tmp_path / "report1").exists()
    for name in ("train/grad_norm", "train/epoch_loss", "val/mean_radius", "log_q_spread/convs.0"):
        assert first[name] == second[name]
    assert first["train/loss"] != second["train/loss"]
