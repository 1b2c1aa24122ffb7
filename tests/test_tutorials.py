"""Each tutorial, from its first line to its last, as a reader would type it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkouts import ROOT

FENCE = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TUTORIALS = sorted(path for path in (ROOT / "docs/tutorials").glob("*.md") if path.name != "index.md")
PORT = str(20000 + os.getpid() % 20000)  # in place of 8017, which may be taken


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what a checkout has, in which commands may write."""
    for name in ("configs", "checkpoints", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    if (hub := tmp_path / "outputs/hub.pid").exists():  # of a test that failed before it ended the Hub
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(hub.read_text()), signal.SIGTERM)


def follow(page, folder):
    """Execute the fences of a page in their order; those in Python share their names, and those of a shell what they export."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    scope: dict = {}
    for language, code in FENCE.findall(page.read_text("utf-8")):
        if language == "python":
            exec(compile(code, str(page), "exec"), scope)  # noqa: S102 - the repository's own pages
            continue
        typed = code.replace("8017", PORT)
        with (folder / "said").open("w") as said:
            script = f"touch exported; . ./exported\n{typed}\ndeclare -px > exported"
            done = subprocess.run(["bash", "-euc", script], stdout=said, stderr=said, check=False, env=environment)
        assert done.returncode == 0, f"{typed}\n{(folder / 'said').read_text('utf-8')[-4000:]}"


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_leads_to_its_end(page, folder):
    follow(page, folder)


def test_every_tutorial_is_listed():
    text = (ROOT / "docs/tutorials/index.md").read_text("utf-8")
    assert {path.name for path in TUTORIALS} == set(re.findall(r"\]\((\w+\.md)\)", text))
