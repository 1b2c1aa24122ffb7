"""Fixtures, and a Hub that answers nobody: no test can reach the network or a developer's cache."""

import os
import tempfile

# The Hub's client reads these once, when it is imported. Port 9 refuses.
os.environ.update(HF_HOME=tempfile.mkdtemp(prefix="hf-home-"), HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN="dummy")
for _proxy in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(_proxy, None)

# Tensors in tests are tiny: more threads only wait for each other, here and in the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch

import sll_zoo
from sll_zoo.data import Digits
from sll_zoo.layers import UnitRowsLinear
from tests.hub.fixtures import hub, pytest_report_header  # noqa: F401  (for every folder)

torch.set_num_threads(1)  # where something has imported torch before


def pytest_collection_modifyitems(config, items):
    """Leave what compiles or is traced to ``test_compile.py``: neither goes through the suite's shape checks."""
    if config.getoption("--jaxtyping-packages"):
        items[:] = [item for item in items if "compiles" not in item.name and "is_traced" not in item.name]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def digits():
    data = Digits()
    data.setup()
    return data


@pytest.fixture
def pretrained():
    return sll_zoo.create_model("sll_nano.digits", pretrained=True).eval()


@pytest.fixture
def liar(monkeypatch):
    """Let every network state constants that are half of the truth."""
    truth = UnitRowsLinear.pairwise_lipschitz
    monkeypatch.setattr(UnitRowsLinear, "pairwise_lipschitz", lambda head: truth(head) / 2)
