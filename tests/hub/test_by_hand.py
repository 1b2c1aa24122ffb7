"""``python -m tests.hub``, as a person uses it."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from tests.checkouts import ROOT
from tests.hub.clients import PUBLISH, read, written

LAST_LINE = "Repositories are named zoo/NAME, or ORGANISATION/NAME. Ctrl-C ends it.\n"
FILES = {"config.json": b"{}", "model.safetensors": b"weights"}
PULL = "import sys; from huggingface_hub import snapshot_download; print(snapshot_download(sys.argv[1], revision='v1.0'))"


@contextmanager
def hub_by_hand(*options):
    """Start the Hub, and give the environment that it tells people to export."""
    command = [sys.executable, "-m", "tests.hub", "--port", "0", *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        greeting = "".join(iter(process.stdout.readline, LAST_LINE))
        try:
            yield os.environ | dict(re.findall(r"(\w+)=(\S+)", greeting))
        finally:
            process.send_signal(signal.SIGINT)
            out, problems = process.communicate()
    assert (process.returncode, out, problems) == (0, "\nEnded.\n", "")


def test_a_hub_started_by_hand_keeps_what_was_published(tmp_path):
    folder = written(tmp_path / "model", FILES)
    with hub_by_hand("--folder", str(tmp_path / "kept")) as environment:
        python(environment, "import json, sys" + PUBLISH, "zoo/m", folder, "v1.0")
    with hub_by_hand("--folder", str(tmp_path / "kept")) as environment:
        assert read(Path(python(environment, PULL, "zoo/m"))) == FILES


def test_a_hub_without_a_folder_leaves_nothing(tmp_path):
    with hub_by_hand() as environment:
        python(environment, "import json, sys" + PUBLISH, "zoo/m", written(tmp_path / "model", FILES), "v1.0")
        used = Path(environment["HF_HOME"]).parent
        assert used.is_dir()
    assert not used.exists()


def test_a_port_that_is_taken_is_one_line_and_no_traceback(hub, tmp_path):
    port = str(hub.server.server_port)
    command = [sys.executable, "-m", "tests.hub", "--port", port, "--folder", str(tmp_path / "kept")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, f"port {port}: Address already in use\n")


def python(environment, code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout.strip()
