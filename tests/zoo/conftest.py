"""A Hub, and a client in a process of its own, for all tests in this folder."""

import os
import shutil
from pathlib import Path

import pytest

import sll_zoo
from sll_zoo.zoo.folder import CHECKPOINTS
from sll_zoo.zoo.publishing.results import RESULTS
from tests.hub.server import Hub
from tests.zoo.client import Client

NAME = "sll_nano.digits"


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The package as it is installed: without ``checkpoints/`` beside it."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(Path(sll_zoo.__file__).parent, folder / "sll_zoo", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="session")
def _served(site, tmp_path_factory):
    """A Hub, and a client that may write, in a home of its own."""
    kept = dict(os.environ)
    with Hub(tmp_path_factory.mktemp("hub")) as hub:
        home = tmp_path_factory.mktemp("home")
        environment = hub.environment(home)
        os.environ.clear()
        os.environ.update(environment)
        client = Client(site, home / "hub")
        try:
            client.pool.submit(os.getpid).result()  # the process starts with this environment
        finally:
            os.environ.clear()
            os.environ.update(kept)
        yield hub, client
        client.pool.shutdown()


@pytest.fixture
def served(_served):
    """The Hub, for one test: without faults, and without requests so far."""
    hub, _ = _served
    hub.rules.clear()
    hub.requests.clear()
    return hub


@pytest.fixture
def client(_served):
    return _served[1]


@pytest.fixture
def folder(tmp_path):
    """A folder with the shipped weights, as the wheel and the Hub have it, which a test may spoil."""
    return shutil.copytree(CHECKPOINTS / NAME, tmp_path / NAME, ignore=shutil.ignore_patterns(*RESULTS))


@pytest.fixture
def files(folder):
    """The content of its files, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}
