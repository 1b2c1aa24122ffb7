"""The compilation law, and traces, in a process without the shape checks that the rest of the suite runs under."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.compile


@pytest.mark.parametrize("what", ["compiles", "is_traced"], ids=["compiled", "traced"])
def test_every_layer_and_network(what):
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=--import-mode=importlib", "-k", what, "tests"]
    run = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    assert "passed" in run.stdout
