"""The real client against a server on loopback, in a process of its own: it reads HF_ENDPOINT when it is imported."""

import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sll_zoo.zoo.weights import CHECKPOINTS

COMMIT = "1" * 40


@pytest.fixture
def hub(tmp_path):
    """Serve ``tmp_path/served`` as the repository org/name, and count what is asked for."""
    served, requests = tmp_path / "served", []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def answer(self, with_body):
            requests.append((self.command, self.path))
            _, _, filename = self.path.partition("/org/name/resolve/main/")
            if self.path.startswith("/dropped/"):
                self.close_connection = True
                return
            found = filename and (served / filename).is_file()
            content = (served / filename).read_bytes() if found else b"{}"
            self.send_response(200 if found or "harnesses" in self.path else 404)
            if found:
                self.send_header("ETag", f'"{filename}"')
            else:
                self.send_header("X-Error-Code", "EntryNotFound" if "/org/name/" in self.path else "RepoNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if with_body:
                self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield served, f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    server.server_close()


def certify(name, home, endpoint, **more):
    environment = os.environ | {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1"} | more
    command = [sys.executable, "-m", "sll_zoo", "certify", name, "digits"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)


def test_weights_come_from_the_hub_once_and_then_from_its_cache(hub, tmp_path):
    served, endpoint, requests = hub
    shutil.copytree(CHECKPOINTS / "sll_nano.digits", served)
    run = certify("hf-hub:org/name", tmp_path / "home", endpoint)
    assert run.returncode == 0, run.stderr
    assert "400 images" in run.stdout
    assert {path for method, path in requests if method == "GET"} >= {
        "/org/name/resolve/main/config.json",
        "/org/name/resolve/main/model.safetensors",
    }
    for unreachable in ({"endpoint": "http://127.0.0.1:9"}, {"endpoint": endpoint, "HF_HUB_OFFLINE": "1"}):
        asked = len(requests)
        assert certify("hf-hub:org/name", tmp_path / "home", **unreachable).returncode == 0
        assert len(requests) == asked


@pytest.mark.parametrize("name", ["org/absent", "org/name", "dropped/name"])
def test_what_the_hub_does_not_have_is_a_line_and_status_2(hub, tmp_path, name):
    _, endpoint, _ = hub
    run = certify(f"hf-hub:{name}", tmp_path / "home", endpoint)
    assert run.returncode == 2
    assert len(run.stderr.strip().splitlines()) == 1
    assert "could not be had from http://127.0.0.1" in run.stderr
