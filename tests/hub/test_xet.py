"""Large files as users send and fetch them by default, between processes that share nothing but the Hub."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hub.clients import publish, read, run, some_bytes, written
from tests.hub.server import Hub

pytest.importorskip("hf_xet")

WEIGHTS = some_bytes(300_000) + bytes(300_000)
FILES = {"README.md": b"---\ntags: [a]\n---\n", "model.safetensors": WEIGHTS, "b.safetensors": some_bytes(9)}
PULL = """
from huggingface_hub import snapshot_download
print(json.dumps(snapshot_download("zoo/m")))
"""


@pytest.mark.parametrize("xet", [True, False])
def test_what_was_sent_by_xet_is_pulled_with_and_without_it(hub, tmp_path, xet):
    publish(hub, tmp_path / "one", "zoo/m", written(tmp_path / "model", FILES), xet=True)
    assert hub.asked("/xet/v1/xorbs/*", "POST")
    assert not hub.asked("/_lfs/*")
    sent = len(hub.asked("/xet/xorbs/*", "GET"))  # the Hub itself asked for these
    assert read(tmp_path / run(hub, tmp_path / "two", PULL, xet=xet)) == FILES
    assert (len(hub.asked("/xet/xorbs/*", "GET")) > sent) == xet


def test_an_unchanged_folder_makes_no_commit_by_xet_either(hub, tmp_path):
    folder = written(tmp_path / "model", FILES)
    first, second = (publish(hub, tmp_path / home, "zoo/m", folder, xet=True) for home in ("one", "two"))
    assert first == second
    assert len(hub.asked("*/commit/*")) == 1


def test_what_was_sent_by_xet_is_there_after_a_restart(tmp_path):
    with Hub(tmp_path / "hub") as first:
        publish(first, tmp_path / "one", "zoo/m", written(tmp_path / "model", FILES), xet=True)
    with Hub(tmp_path / "hub") as second:
        assert read(tmp_path / run(second, tmp_path / "two", PULL, xet=True)) == FILES


def test_several_pull_by_xet_at_once(hub, tmp_path):
    publish(hub, tmp_path / "one", "zoo/m", written(tmp_path / "model", FILES), xet=True)
    with ThreadPoolExecutor(2) as pool:
        pulled = list(pool.map(lambda home: run(hub, tmp_path / home, PULL, xet=True), ("two", "three")))
    assert [read(tmp_path / folder) for folder in pulled] == [FILES, FILES]
