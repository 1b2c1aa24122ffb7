"""The fixture ``hub``, for every folder of tests."""

from importlib.metadata import version

import pytest

from tests.hub.server import Hub


@pytest.fixture
def hub(tmp_path):
    """A Hub of this test alone: see ``tests.hub``."""
    with Hub(tmp_path / "hub") as running:
        yield running


def pytest_report_header():
    return f"huggingface_hub {version('huggingface_hub')}"
