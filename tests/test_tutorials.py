"""Each tutorial, from its first line to its last, as a reader would type it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkouts import ROOT

FENCE = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TUTORIALS = sorted(path for path in (ROOT / "docs/tutorials").glob("*.md") if path.name != "index.md")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what a checkout has, in which commands may write."""
    for name in ("configs", "checkpoints", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environment():
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def follow(page):
    """Execute the fences of a page in their order; those in Python share their names."""
    scope: dict = {}
    for language, code in FENCE.findall(page.read_text("utf-8")):
        if language == "python":
            exec(compile(code, str(page), "exec"), scope)  # noqa: S102 - the repository's own pages
        else:
            done = subprocess.run(["bash", "-euc", code], capture_output=True, text=True, check=False, env=environment())
            assert done.returncode == 0, f"{code}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_a_tutorial_leads_to_its_end(page):
    follow(page)


def test_every_tutorial_is_listed():
    text = (ROOT / "docs/tutorials/index.md").read_text("utf-8")
    assert {path.name for path in TUTORIALS} == set(re.findall(r"\]\((\w+\.md)\)", text))
