"""What the client makes of a network and of servers that fail; each fault is seen at work."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HTTPError

from tests.hub import faults
from tests.hub.clients import publish, some_bytes, written

SMALL, LARGE = some_bytes(1000), some_bytes(11 << 20)  # the client resumes what is larger than 10 MiB
WEIGHTS = "*/model.safetensors"


@pytest.fixture
def pull(hub, tmp_path):
    hub.put("zoo/m", {"model.safetensors": SMALL})

    def pull(repo="zoo/m", **options):
        options |= {"endpoint": hub.endpoint, "token": False, "cache_dir": tmp_path}
        path = hf_hub_download(repo, "model.safetensors", **options)
        return Path(path).read_bytes()

    return pull


def test_a_download_that_was_cut_goes_on_where_it_stopped(hub, pull):
    hub.put("zoo/large", {"model.safetensors": LARGE})
    hub.fault(faults.cut(after=len(LARGE) - 1000), WEIGHTS, "GET", times=1)
    with suppress(HTTPError):  # early 1.x leave it to the next call
        pull("zoo/large")
    assert pull("zoo/large") == LARGE
    first, second = hub.asked(WEIGHTS, "GET")
    assert "range" not in first.headers
    assert 0 < int(re.fullmatch(r"bytes=(\d+)-", second.headers["range"])[1]) < len(LARGE)
    assert second.status == 206


def test_too_many_requests_are_repeated_when_the_hub_says(hub, pull):
    hub.fault(faults.status(429, retry_after=1), WEIGHTS, "GET", times=1)
    start = time.monotonic()
    assert pull() == SMALL
    assert time.monotonic() - start >= 1
    assert [request.status for request in hub.asked(WEIGHTS, "GET")] == [429, 200]


def test_an_error_of_the_server_is_told_and_leaves_nothing_behind(hub, pull):
    hub.fault(faults.status(500), WEIGHTS, "GET", times=1)
    with pytest.raises(HfHubHTTPError, match="500"):
        pull()
    assert pull() == SMALL


def test_wrong_bytes_of_the_right_size_are_not_noticed_by_the_client(hub, pull):
    hub.fault(faults.wrong_bytes(), WEIGHTS, "GET", times=1)
    got = pull()
    assert len(got) == len(SMALL)
    assert got[:500] == SMALL[:500]
    assert got[500:] != SMALL[500:]
    assert pull() == got  # from the cache: whoever needs the right bytes must compare hashes


@pytest.mark.parametrize("fault", [faults.truncated(900), faults.oversized(100), faults.html_page()])
def test_another_size_than_announced_is_noticed_by_the_client(hub, pull, fault):
    hub.fault(fault, WEIGHTS, "GET", times=1)
    with pytest.raises(OSError, match="Consistency check failed"):
        pull()
    assert pull(force_download=True) == SMALL  # without it, early 1.x go on where the wrong file ends


@pytest.mark.parametrize(
    ("fault", "served"),
    [(faults.truncated(900), SMALL[:900]), (faults.oversized(100), SMALL + bytes(100)), (faults.html_page(), faults.PAGE)],
)
def test_a_wrong_file_that_is_announced_as_it_is_served_passes_the_client(hub, pull, fault, served):
    hub.fault(fault, WEIGHTS)
    assert pull() == served


def test_a_wrong_etag_names_the_file_in_the_cache(hub, pull, tmp_path):
    hub.fault(faults.wrong_etag("f" * 64), WEIGHTS)
    assert pull() == SMALL
    assert [path.name for path in tmp_path.glob("*/blobs/*")] == ["f" * 64]


def test_a_slow_server_is_waited_for(hub, pull):
    hub.fault(faults.delayed(0.3), WEIGHTS, "HEAD", times=1)
    hub.fault(faults.throttled(5000), WEIGHTS, "GET", times=1)  # 1000 bytes: 0.2 s
    start = time.monotonic()
    assert pull() == SMALL
    assert time.monotonic() - start >= 0.5


def test_a_commit_whose_answer_is_lost_was_made(hub):
    hub.put("zoo/m", {})
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    hub.fault(faults.answer_lost(), "*/commit/main", times=1)
    with pytest.raises(HTTPError):
        api.upload_file(repo_id="zoo/m", path_in_repo="a.txt", path_or_fileobj=b"a")
    assert "a.txt" in api.list_repo_files("zoo/m")


def test_a_commit_that_never_arrived_was_not_made(hub):
    hub.put("zoo/m", {})
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    hub.fault(faults.unanswered(), "*/commit/main", times=1)
    with pytest.raises(HTTPError):
        api.upload_file(repo_id="zoo/m", path_in_repo="a.txt", path_or_fileobj=b"a")
    assert "a.txt" not in api.list_repo_files("zoo/m")


def test_an_upload_is_repeated_when_the_storage_fails_once(hub, tmp_path):
    hub.fault(faults.status(503), "/_lfs/*", "PUT", times=1)
    publish(hub, tmp_path / "home", "zoo/m", written(tmp_path / "model", {"model.safetensors": SMALL}))
    assert [request.status for request in hub.asked("/_lfs/*", "PUT")] == [503, 200]


def test_eight_at_once_get_the_same(hub, tmp_path):
    files = {f"part-{index}.bin": some_bytes(300_000 + index) for index in range(8)}
    hub.put("zoo/m", files)

    def pull(index):
        folder = tmp_path / str(index)
        snapshot_download("zoo/m", endpoint=hub.endpoint, token=False, local_dir=folder, cache_dir=tmp_path / "cache")
        return {name: (folder / name).read_bytes() for name in files}

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(pull, range(8))) == [files] * 8
