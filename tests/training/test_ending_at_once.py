"""A signal outside the batches of a training ends it at once, and under SLURM asks for another start."""

import os
import signal
from pathlib import Path

import pytest
import torch

from sll_zoo.cli.main import main
from sll_zoo.data import Digits

LAST = Path("outputs/sll_nano.digits/checkpoints/last.ckpt")
FIT = ["fit", "--model.name", "sll_nano.digits", "--trainer.accelerator", "cpu", "--trainer.max_epochs", "1"]
FIT += ["--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1", "--trainer.enable_progress_bar", "false"]
FIT += ["--trainer.logger", "false", "--trainer.enable_model_summary", "false", "--data", f"{__name__}.Interrupts"]
FIT += ["--trainer.callbacks+", "sll_zoo.training.callbacks.SavePretrained", "--trainer.callbacks.folder", "saved"]


class Interrupts(Digits):
    """Digits that send a signal to their reader when they are read, validated on, or tested on."""

    def __init__(self, when: str, signum: int) -> None:
        super().__init__()
        self.when = when
        self.signum = signum

    def setup(self, stage=None):
        super().setup(stage)
        self.interrupt({"fit": "reading", "test": "saving"}[stage])

    def on_after_batch_transfer(self, batch, dataloader_idx):
        if self.trainer.sanity_checking:
            self.interrupt("checking")
        return super().on_after_batch_transfer(batch, dataloader_idx)

    def interrupt(self, when):
        if self.when == when:
            os.kill(os.getpid(), self.signum)


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Run as a job of SLURM whose requests are written to ``asked``."""
    monkeypatch.chdir(tmp_path)
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(scontrol.parent), prepend=os.pathsep)
    for name, value in {"NTASKS": 1, "NTASKS_PER_NODE": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0, "JOB_ID": 12}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))


@pytest.mark.usefixtures("slurm")
@pytest.mark.parametrize("when", ["reading", "checking", "saving"])
def test_a_signal_outside_the_batches_ends_at_once_with_the_checkpoint_that_is_there(when, capsys):
    for signum, asked in ((signal.SIGTERM, ""), (signal.SIGUSR1, "job 12 ")):
        before = {signum: signal.getsignal(signum) for signum in signal.valid_signals()}
        assert main([*FIT, "--data.when", when, "--data.signum", str(int(signum))]) == 128 + signum
        (last,) = LAST.parent.glob("last*.ckpt") if when == "saving" else [None]
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith("sll-zoo: ")
        assert signum.name in told
        assert ("job 12 " in told) == bool(asked)
        assert ("--ckpt_path last" in told) == bool(last)
        assert not last or f"{last.resolve()} with --ckpt_path last" in told
        assert Path("asked").exists() == bool(asked)
        assert {signum: signal.getsignal(signum) for signum in signal.valid_signals()} == before
        assert not Path("saved").exists()
        assert not list(Path().glob("hpc*"))
        if last:
            assert torch.load(last, weights_only=True)["global_step"] == 2
            last.unlink()
