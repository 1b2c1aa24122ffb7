"""Fixtures, and settings that keep tests from the network and from a developer's cache."""

import os
import tempfile

# The Hub's client reads these variables once, when it is imported. Nothing answers on port 9.
os.environ.update(HF_HOME=tempfile.mkdtemp(prefix="hf-home-"), HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN="dummy")
for _proxy in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
    os.environ.pop(_proxy, None)

# Tensors in tests are tiny: more threads only wait for each other, here and in the processes that tests start.
os.environ["OMP_NUM_THREADS"] = "1"

import jaxtyping
import pytest
import torch

import sll_zoo
from sll_zoo.data import Digits
from sll_zoo.layers import UnitRowsLinear
from tests.hub.fixtures import hub, pytest_report_header  # noqa: F401  (the fixture hub is for every folder of tests)

torch.set_num_threads(1)  # in case torch was imported before the variable was set


def pytest_collection_modifyitems(config, items):
    """Leave out tests that compile or trace if shapes are checked, which these cannot do; ``test_compile.py`` runs them."""
    if config.getoption("--jaxtyping-packages"):
        items[:] = [item for item in items if "compiles" not in item.name and "is_traced" not in item.name]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def unchecked():
    """Let calls with values of other types through, which the shape checks of the tests refuse, and users' calls do not."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


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
    """Let every network state pairwise Lipschitz constants that are half of the true ones."""
    truth = UnitRowsLinear.pairwise_lipschitz
    monkeypatch.setattr(UnitRowsLinear, "pairwise_lipschitz", lambda head: truth(head) / 2)
