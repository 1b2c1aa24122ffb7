"""A command that is called from Python leaves the process as it was: warnings, loggers, seeds and switches."""

import logging
import os
import random
import signal
import warnings

import numpy as np
import pytest
import torch

import sll_zoo.cli.training  # noqa: F401 - what other packages do to a process when they are imported is theirs
from sll_zoo.cli.main import main
from sll_zoo.cli.quiet import LOGGERS

FIT = ["fit", "--model.name=sll_nano.digits", "--data=Digits", "--trainer.max_epochs=1", "--trainer.limit_train_batches=2"]
DETERMINISTIC = ["--trainer.deterministic=true", "--trainer.enable_progress_bar=false"]
NOWHERE = ["--trainer.benchmark=true", "--trainer.callbacks+=SavePretrained", "--trainer.callbacks.folder=/dev/null/new"]


def process():
    """Return what belongs to the process."""
    return {
        "filters": list(warnings.filters),
        "shown by": warnings.showwarning,
        "levels": [logging.getLogger(name).level for name in LOGGERS],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "precision": (torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "seeds": (random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()),  # noqa: NPY002
        "signals": [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)],
        "environment": dict(os.environ),
    }


@pytest.mark.parametrize(("options", "status"), [(DETERMINISTIC, 0), (NOWHERE, 2)], ids=["ends well", "fails"])
def test_a_training_leaves_the_process_as_it_was(options, status, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in LOGGERS:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.INFO)
    before = process()
    assert main([*FIT, *options]) == status
    assert process() == before
