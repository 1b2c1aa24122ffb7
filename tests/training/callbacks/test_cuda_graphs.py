"""CUDA graphs: without a GPU the callback changes nothing; what it captures on one was measured on an H200."""

import torch
from lightning import Trainer, seed_everything

from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits
from sll_zoo.training.callbacks import CUDAGraphs

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def trained(callbacks):
    seed_everything(0)
    task = CertifiedClassifier("sll_nano.digits")
    Trainer(accelerator="cpu", max_epochs=1, limit_train_batches=2, callbacks=callbacks, **QUIET).fit(task, datamodule=Digits())
    assert "forward" not in vars(task)
    return task.model.state_dict()


def test_a_training_without_a_gpu_is_the_same_with_it():
    alone, beside = trained([]), trained([CUDAGraphs()])
    assert all(torch.equal(alone[name], beside[name]) for name in alone)
