"""A short training in this process, with all callbacks that a resumed training needs."""

import os
import random
import warnings

import numpy as np
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging

from sll_zoo import CertifiedClassifier
from sll_zoo.training.callbacks import FiniteWatch, ResumableCheckpoint, SeededBatches
from tests.training.noisy import NoisyDigits

# Number of batches in an epoch.
EPOCH = 4


class At(Callback):
    """A callback that calls ``what`` with the task after a step."""

    def __init__(self, step, what):
        self.step = step
        self.what = what

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step == self.step:
            self.what(pl_module)


def signal_at(step, signum):
    return At(step, lambda _: os.kill(os.getpid(), signum))


def trainer(folder, *callbacks, **options):
    """Return a trainer that writes its checkpoints to a folder."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    ours = [EMAWeightAveraging(decay=0.9), SeededBatches(), FiniteWatch(), ResumableCheckpoint(str(folder))]
    return Trainer(**{"max_epochs": 3, "accelerator": "cpu", **quiet, **options}, callbacks=[*ours, *callbacks])


def train(run, data=None, last=False):
    """Train from a fixed start, or resume, and return the weights."""
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(0)
    task = CertifiedClassifier("sll_nano.digits")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You're resuming from a checkpoint")
        run.fit(task, datamodule=data or NoisyDigits(images=128 * EPOCH), ckpt_path="last" if last else None)
    return task.model.state_dict()
