"""A checkout of one's own, for tests of what writes into the checkout that the package runs in."""

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]


def checkout(to):
    """Copy what a command reads and writes of this checkout, and return where it is."""
    for name in ("sll_zoo", "benchmarks", "checkpoints", "configs"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", to)
    return to


def environment(root):
    """Return the environment of a process that imports the package of a checkout."""
    return {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
