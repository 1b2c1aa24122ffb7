"""A short training in stages, with all callbacks that a resumed one needs."""

import copy

import torch
from lightning import Callback, Trainer

import sll_zoo
from sll_zoo import CertifiedClassifier
from sll_zoo.training.callbacks import FiniteWatch, Grow, ResumableCheckpoint, SeededBatches, Stage
from tests.training.noisy import NoisyDigits

# Batches of an epoch of 64 images each; the second stage has batches of half the size.
EPOCH = 4
STAGES = (
    Stage(2),
    Stage(1, model_args={"conv_layers": 6, "dense_layers": 4, "conv_inner": 20}, batch_size=32),
    Stage(1, name="sll_nano", model_args={"width": 12, "conv_layers": 6, "conv_inner": 24, "dense_layers": 5}, lr=0.005),
)
# Steps at the ends of the stages.
ENDS = (2 * EPOCH, 4 * EPOCH, 6 * EPOCH)


def trainer(folder, *callbacks, stages=STAGES, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    ours = [Grow(stages), SeededBatches(), FiniteWatch(), ResumableCheckpoint(str(folder)), *callbacks]
    return Trainer(**{"max_epochs": sum(stage.epochs for stage in stages), **quiet, **options}, callbacks=ours)


def train(run, task=None, *, last=False, data=None):
    torch.manual_seed(0)
    task = task or CertifiedClassifier("sll_nano.digits")
    run.fit(task, datamodule=data or NoisyDigits(images=64 * EPOCH, batch_size=64), ckpt_path="last" if last else None)
    return task


class Seen(Callback):
    """Notes shape, learning rate, batch size and progress of each step, and the constant of the network of each epoch."""

    def __init__(self):
        self.steps, self.progress, self.constants = [], [], []

    def on_train_batch_start(self, _trainer, pl_module, *_):
        self.progress.append(pl_module.progress())

    def on_train_epoch_end(self, _trainer, pl_module):
        self.constants.append(sll_zoo.audit(copy.deepcopy(pl_module.model).eval()).constant)

    def on_train_batch_end(self, trainer, pl_module, _outputs, batch, *_):
        (group, *_) = trainer.optimizers[0].param_groups
        self.steps.append((pl_module.model.config.depth, pl_module.model.config.width, len(batch[1]), group["lr"]))
