"""A copy of the checkout, for tests of commands that write into the checkout that the package runs in."""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]


def checkout(to):
    """Copy the files of this checkout that a command reads or writes, and return the path of the copy."""
    for name in ("sll_zoo", "benchmarks", "checkpoints", "configs"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", to)
    return to


def environment(root):
    """Return the environment variables of a process that imports the package from a checkout."""
    return {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
