"""A new process for the tests of publish and pull, since the Hub's client reads its settings when it is imported.

The process has the package as it is installed, without the checkout around it, and imports it late.
"""

import contextlib
import io
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.hub.server import WRITE_TOKEN


class Client:
    """A process with the Hub's client; a method called here runs there, and its errors are raised here.

    Args:
        site: Folder that holds a copy of the package.
        cache: Cache of the Hub's client, as the environment will name it.
    """

    def __init__(self, site, cache):
        self.cache = cache
        self.pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_start, initargs=(str(site),))

    def load(self, name, key="head.bias", **kwargs):
        """Return one of the tensors of ``create_model(name, pretrained=True)``, as a list."""
        return self.pool.submit(_load, name, key, kwargs).result()

    def run(self, *arguments, token=WRITE_TOKEN):
        """Return status, output and errors of the command line."""
        return self.pool.submit(_run, list(map(str, arguments)), token).result()

    def publish(self, source, repo_id, **options):
        """Return the publication."""
        return self.pool.submit(_publish, str(source), repo_id, options).result()


def _start(site):
    sys.path.insert(0, site)


def _load(name, key, kwargs):
    import sll_zoo

    return sll_zoo.create_model(name, pretrained=True, **kwargs).state_dict()[key].tolist()


def _run(arguments, token):
    from sll_zoo.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    os.environ["HF_TOKEN"] = token or ""
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    os.environ["HF_TOKEN"] = WRITE_TOKEN
    return status, out.getvalue(), err.getvalue()


def _publish(source, repo_id, options):
    import sll_zoo

    return sll_zoo.publish(source, repo_id, **options)
