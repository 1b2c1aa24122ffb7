"""A Hugging Face Hub on loopback: the real client uploads to it and downloads from it, over HTTP and nothing else.

For tests, by the fixture ``hub``, which every folder of tests has::

    def test_weights_come_from_the_hub(hub, tmp_path):
        hub.put("org/name", {"config.json": b"{}", "model.safetensors": weights}, tag="v1.0")      # a repository without a client
        hub.fault(cut(after=20_000_000), "*/model.safetensors", method="GET", times=1)             # see tests.hub.faults
        subprocess.run(command, env=hub.environment(tmp_path / "home"))                            # the client in its own process
        assert [request.path for request in hub.asked("*/resolve/*", "GET")] == [...]              # what was asked, in order

``hub.endpoint``
    the Hub's address; a client in this process is ``HfApi(endpoint=hub.endpoint, token=hub.token)``.
``hub.environment(home, token=hub.token, xet=False, **more)``
    a whole environment for ``subprocess.run(env=...)``: this endpoint, ``home`` as HF_HOME, no proxies, no telemetry.
    ``token=None`` makes the client anonymous. Xet is off unless asked for: see ``tests.hub.xet``.
``hub.put(repo, {path: bytes}, revision="main", tag=None, private=..., gated=..., accepted=[...])``
    makes the files the whole of a branch, as a commit, and returns its id. The repository belongs to the user ``zoo``.
``hub.fault(fault, path="*", method=None, times=None)``
    lets a fault strike the next ``times`` requests, or all. Without a method a HEAD counts, too.
``hub.requests``, ``hub.asked(path="*", method=None)``
    all requests so far, and those of a path (a shell pattern): each has ``method``, ``path`` (raw, without the query),
    ``query``, ``headers`` (lower-case names), ``token`` (None if no Authorization came) and ``status`` (None until answered).
``WRITE_TOKEN``, ``READ_TOKEN``, ``STRANGER_TOKEN`` of ``tests.hub.server``
    tokens of the user ``zoo`` to write and to read, and of another user. A namespace belongs to the user who first makes a
    repository in it.

Files that were sent by Xet are fetched by Xet, from ``/xet/xorbs/*``; clients without Xet, and files that were ``put``, use
``/resolve/``.

To start a Hub by hand: ``python -m tests.hub``.

Models only: no data sets, Spaces, pull requests or multipart uploads. .gitignore files are not looked at.
"""
