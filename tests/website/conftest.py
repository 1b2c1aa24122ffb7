"""The site, built once and served on this machine, and Debian's Chromium to visit it with."""

import os
import shutil
import subprocess
import sys
import threading

import pytest
from filelock import FileLock

from sll_zoo.deployment.browser import server_of
from tests.checkouts import ROOT, environment


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder of the site; the processes of a test run share it, and no other run does."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "site"
    with FileLock(f"{folder}.lock"):
        if not (folder / "sitemap.xml").exists():
            command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
            subprocess.run(command, cwd=ROOT, env=environment(ROOT) | {"NO_MKDOCS_2_WARNING": "1"}, check=True)
    return folder


@pytest.fixture(scope="session")
def served(built):
    """The address of the site."""
    with server_of(built, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api")
    if not (path := shutil.which("chromium")):
        pytest.skip("the pages were not opened in a browser: there is no chromium on this machine (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(served, chromium):
    """A function that opens a page of the site; at the end, none has asked another host for anything, or complained."""
    complaints, contexts = [], []

    def opened(path, **options):
        context = chromium.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)  # milliseconds, for a machine that is busy with other tests
        page.on("request", lambda request: complaints.extend([] if request.url.startswith((served, "data:")) else [request.url]))
        page.on(
            "response", lambda response: complaints.extend([] if response.status < 400 else [f"{response.status} {response.url}"])
        )
        page.on("console", lambda message: complaints.extend([message.text] if message.type in ("error", "warning") else []))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{served}/{path}", wait_until="networkidle")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints
