"""Whoever is killed or restarted, a repository is never seen half changed."""

import hashlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from huggingface_hub import HfApi

from tests.hub import faults
from tests.hub.clients import PUBLISH, command, publish, read, run, some_bytes, written
from tests.hub.server import Hub

FILES = {"README.md": b"---\ntags: [a]\n---\n", "model.safetensors": some_bytes(500_000)}
PULL = """
from huggingface_hub import snapshot_download
print(json.dumps(snapshot_download("zoo/m", revision=sys.argv[1])))
"""


def killed_while(hub, tmp_path, path, method):
    """Start publishing FILES, and kill the client when it sends a request that is still on its way."""
    publishing = command(PUBLISH, "zoo/m", written(tmp_path / "model", FILES), "v1.0")
    with subprocess.Popen(publishing, env=hub.environment(tmp_path / "home")) as process:
        while not hub.asked(path, method) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.1)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    return hub.asked(path, method)[0]


@pytest.mark.processes
def test_a_publisher_killed_in_the_midst_of_sending_changes_nothing_and_may_try_again(hub, tmp_path):
    before = hub.put("zoo/m", {"a.txt": b"a"})
    hub.fault(faults.throttled(1_000_000), "/_lfs/*", "PUT", times=1)  # half a second
    request = killed_while(hub, tmp_path, "/_lfs/*", "PUT")
    api = HfApi(endpoint=hub.endpoint, token=hub.token)
    assert (request.status, hub.asked("*/commit/*")) == (None, [])
    assert (api.model_info("zoo/m").sha, api.list_repo_refs("zoo/m").tags) == (before, [])
    after = publish(hub, tmp_path / "home", "zoo/m", tmp_path / "model", "v1.0")
    assert [commit.commit_id for commit in api.list_repo_commits("zoo/m")][:2] == [after, before]
    assert set(api.list_repo_files("zoo/m")) == {".gitattributes", "a.txt", *FILES}


def test_a_commit_that_arrives_in_part_changes_nothing(hub):
    before = hub.put("zoo/m", {"a.txt": b"a"})
    line = b'{"key": "header", "value": {"summary": "half"}}\n{"key": "deletedFile", "value": {"path": "a.txt"}}\n'
    headers = f"Authorization: Bearer {hub.token}\r\nContent-Length: {len(line) + 9}"
    with socket.create_connection(("127.0.0.1", hub.server.server_port)) as connection:
        connection.sendall(f"POST /api/models/zoo/m/commit/main HTTP/1.1\r\n{headers}\r\n\r\n".encode() + line)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""  # the server has hung up: it is done with it
    assert hub.store.repositories["zoo/m"].branches["main"] == before
    assert hub.asked("*/commit/*")[0].status is None


def ask(hub, path, body, method):
    """Send what no client would, and return the status."""
    request = urllib.request.Request(hub.endpoint + path, body, {"Authorization": f"Bearer {hub.token}"}, method=method)  # noqa: S310
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            return answer.status
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.status


@pytest.mark.parametrize(("sent", "status"), [(b"right bytes", 200), (b"wrong bytes", 400), (b"short", 400)])
def test_weights_are_stored_only_if_they_hash_to_their_name(hub, sent, status):
    oid = hashlib.sha256(b"right bytes").hexdigest()
    url = f"/_lfs/{oid}/11/{hub.ticket(oid, 11)}"
    assert ask(hub, url, sent, "PUT") == status
    assert hub.has(oid) == (status == 200)
    assert ask(hub, url + "/verify", b'{"size": 11}', "POST") == (200 if status == 200 else 404)
    assert ask(hub, f"/_lfs/{oid}/11/guessed", sent, "PUT") == 403


def test_a_commit_of_weights_that_were_never_sent_is_refused(hub):
    before = hub.put("zoo/m", {})
    lines = b'{"key": "header", "value": {"summary": "s"}}\n{"key": "lfsFile", "value": {"path": "w", "oid": "%s", "size": 1}}'
    assert ask(hub, "/api/models/zoo/m/commit/main", lines % (b"0" * 64), "POST") == 400
    assert hub.store.repositories["zoo/m"].branches["main"] == before


def test_what_was_published_is_there_after_a_restart(tmp_path):
    with Hub(tmp_path / "hub") as first:
        oid = publish(first, tmp_path / "one", "zoo/m", written(tmp_path / "model", FILES), "v1.0")
    with Hub(tmp_path / "hub") as second:
        for revision in ("v1.0", oid):
            assert read(tmp_path / run(second, tmp_path / "two", PULL, revision)) == FILES
