"""A training that is asked to end does so in the middle of an epoch, and goes on as if nothing had been."""

import os
import random
import signal

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from sll_zoo.training.callbacks import Interrupted
from tests.marks import slow_but
from tests.training.loop import EPOCH, At, signal_at, train, trainer
from tests.training.noisy import NoisyDigits


class Reordered(NoisyDigits):
    """Digits in an order that depends on the epoch alone, not on torch's generator."""

    def train_dataloader(self):
        loader = super().train_dataloader()
        sampler = DistributedSampler(loader.dataset, num_replicas=1, rank=0)
        return DataLoader(loader.dataset, self.batch_size, sampler=sampler, num_workers=self.workers)


class KeptWorkers(NoisyDigits):
    """Digits that are read by workers which start once, not in every epoch."""

    def train_dataloader(self):
        data = super().train_dataloader().dataset.data
        return DataLoader(data, self.batch_size, shuffle=True, num_workers=self.workers, persistent_workers=True)


# Trainings by name: data, options of the trainer and of the data, and the steps after which it is interrupted.
TRAININGS = {
    "simple": (NoisyDigits, {}, {}, (1, EPOCH, 2 * EPOCH - 1, 3 * EPOCH)),
    "workers": (NoisyDigits, {}, {"workers": 1}, (2, EPOCH)),
    "validation": (NoisyDigits, {"val_check_interval": 0.5}, {}, (EPOCH // 2, EPOCH + 1)),
    "accumulation": (NoisyDigits, {"accumulate_grad_batches": 3}, {}, (1, 3)),
    "steps for epochs": (NoisyDigits, {"max_steps": 2 * EPOCH + 1, "max_epochs": -1}, {}, (EPOCH - 1, EPOCH, 2 * EPOCH + 1)),
    "kept workers": (KeptWorkers, {}, {"workers": 1}, (EPOCH, EPOCH + 1)),
    "sampler and workers": (Reordered, {}, {"workers": 1}, (2, EPOCH)),
    "sampler and steps": (Reordered, {"max_steps": 2 * EPOCH + 1, "max_epochs": -1}, {}, (EPOCH,)),
}
QUICK = ("simple", "workers", "validation", "accumulation")


@pytest.mark.parametrize("training", slow_but(QUICK, TRAININGS))
def test_an_interrupted_training_ends_with_the_weights_of_one_that_was_not(training, tmp_path):
    kind, options, data, steps = TRAININGS[training]
    data = {"images": 128 * EPOCH, **data}
    whole = train(trainer(tmp_path / "whole", **options), kind(**data))
    for step in steps:
        folder = tmp_path / str(step)
        with pytest.raises(Interrupted):
            train(trainer(folder, signal_at(step, signal.SIGTERM), **options), kind(**data))
        resumed = train(trainer(folder, **options), kind(**data), last=True)
        torch.testing.assert_close(resumed, whole, rtol=0, atol=0)


def test_ctrl_c_writes_a_checkpoint_and_says_where(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted) as stop:
        train(trainer(tmp_path, signal_at(2, signal.SIGINT)))
    assert "SIGINT" in str(stop.value)
    assert f"{tmp_path / 'last.ckpt'} with --ckpt_path last" in str(stop.value)
    assert torch.load(tmp_path / "last.ckpt")["global_step"] == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_ends_at_once_and_leaves_the_checkpoint_as_it_was(tmp_path):
    def twice(_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(SystemExit) as stop:
        train(trainer(tmp_path, At(EPOCH + 1, twice)))
    assert stop.value.code == 1
    assert torch.load(tmp_path / "last.ckpt")["global_step"] == EPOCH


def test_under_slurm_the_job_is_requeued_once_its_checkpoint_is_there(tmp_path, monkeypatch):
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\nls {tmp_path}/last.ckpt && echo "$@" > {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(scontrol.parent), prepend=os.pathsep)
    slurm = {"NTASKS": 1, "NTASKS_PER_NODE": 1, "PROCID": 0, "LOCALID": 0, "NODEID": 0}
    slurm |= {"JOB_ID": 12, "ARRAY_JOB_ID": 11, "ARRAY_TASK_ID": 1}
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    whole = train(trainer(tmp_path / "whole"))
    with pytest.raises(Interrupted, match=r"SIGUSR1.*job 11_1 .*--ckpt_path last"):
        train(trainer(tmp_path, signal_at(2, signal.SIGUSR1)))
    assert (tmp_path / "asked").read_text() == "requeue 11_1\n"
    torch.testing.assert_close(train(trainer(tmp_path), last=True), whole, rtol=0, atol=0)


def test_a_training_leaves_the_generators_as_if_it_had_drawn_nothing(tmp_path):
    drawn = []
    for epochs in (1, 2):
        train(trainer(tmp_path, max_epochs=epochs))
        assert torch.initial_seed() == 0
        drawn.append((torch.rand(3).tolist(), random.random(), np.random.rand()))  # noqa: NPY002, S311 - those that are seeded
    assert drawn[0] == drawn[1]
