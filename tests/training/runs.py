"""`sll-zoo` in new processes, which a test can kill; they fork from one that has imported everything."""

import os
import sys
import time
from pathlib import Path

import torch
import yaml

from sll_zoo.cli.main import main
from tests.processes import CONTEXT

# Environment in which a new interpreter finds this package and its tests.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
# Files that a run of `configuration` leaves behind.
LAST = Path("outputs/sll_nano.digits/checkpoints/last.ckpt")
WEIGHTS = Path("saved/model.safetensors")


def configuration(**trainer):
    """Return the text of a configuration with averaged weights, noise, and a folder to save to."""
    callbacks = [
        {"class_path": "lightning.pytorch.callbacks.EMAWeightAveraging", "init_args": {"decay": 0.9}},
        {"class_path": "sll_zoo.training.callbacks.SavePretrained", "init_args": {"folder": str(WEIGHTS.parent)}},
    ]
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 5}
    options = {"accelerator": "cpu", "deterministic": True, "callbacks": callbacks, **quiet, **trainer}
    data = {"class_path": "tests.training.noisy.NoisyDigits"}
    return yaml.safe_dump({"seed_everything": 0, "trainer": options, "model": {"name": "sll_nano.digits"}, "data": data})


def run(folder, arguments):
    os.chdir(folder)
    with Path("errors").open("w") as errors:
        os.dup2(errors.fileno(), sys.stderr.fileno())
    torch.set_num_threads(1)
    sys.exit(main(arguments))


def start(folder, *arguments):
    """Start ``sll-zoo`` in a folder; its messages go to the file ``errors`` there."""
    folder.mkdir(exist_ok=True)
    process = CONTEXT.Process(target=run, args=(folder, arguments))
    process.start()
    return process


def wait_for(path, process, seconds=120):
    """Wait until a file exists or the process has ended."""
    end = time.monotonic() + seconds
    while not path.exists() and process.is_alive() and time.monotonic() < end:
        time.sleep(0.01)
