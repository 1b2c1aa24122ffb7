"""The Hub for tests: a server in this process, with its folder, its log of requests and its faults."""

import functools
import hashlib
import os
import secrets
import threading
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tests.hub import account, refs, routing, writing, xet  # noqa: F401  (each registers its routes)
from tests.hub.access import Token
from tests.hub.state import Store
from tests.hub.transport import RefusedError, Server

OWNER, WRITE_TOKEN, READ_TOKEN, STRANGER_TOKEN = "zoo", "hf_write", "hf_read", "hf_stranger"
TOKENS = {WRITE_TOKEN: Token(OWNER, "write"), READ_TOKEN: Token(OWNER, "read"), STRANGER_TOKEN: Token("stranger", "write")}
PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}


@dataclass
class Rule:
    """A fault, the requests that it strikes, and how many times it still will (None for always)."""

    fault: object
    path: str
    method: str | None
    left: int | None

    def strikes(self, request):
        """Return whether the fault strikes this request, and count it if so."""
        if self.left == 0 or self.method not in (None, request.method) or not fnmatchcase(request.path, self.path):
            return False
        self.left = None if self.left is None else self.left - 1
        return True


class Hub:
    """A Hub on a port of 127.0.0.1 (0 for a free one), with the repositories in ``folder``; it runs inside ``with``."""

    def __init__(self, folder, port=0):
        self.tokens, self.token = TOKENS, WRITE_TOKEN
        self.store, self.xorbs = Store(folder), xet.Xorbs(Path(folder))
        self.requests, self.rules, self.secret = [], [], secrets.token_hex()
        self.counting = threading.Lock()
        self.server = Server(port, self.respond)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.server.thread.start()
        return self

    def __exit__(self, *_):
        self.server.stop()
        if self.server.failures:
            raise self.server.failures[0]

    def respond(self, request):
        """Return the answer to a request, changed by the faults that strike it."""
        with self.counting:
            self.requests.append(request)
            rules = [rule for rule in self.rules if rule.strikes(request)]

        def truth():
            try:
                return routing.answer(self, request)
            except RefusedError as refusal:
                return refusal.answer

        answer = truth
        for rule in rules:
            answer = functools.partial(rule.fault, request, answer)
        return answer()

    def fault(self, fault, path="*", method=None, times=None):
        """Let a fault of ``tests.hub.faults`` strike requests by path (a shell pattern, without the query) and method."""
        self.rules.append(Rule(fault, path, method, times))

    def asked(self, path="*", method=None):
        """Return the requests so far, by path (a shell pattern) and method."""
        return [one for one in list(self.requests) if method in (None, one.method) and fnmatchcase(one.path, path)]

    def put(self, repo, files, revision="main", tag=None, **settings):
        """Commit ``files``, bytes by path, as the only files of a branch besides .gitattributes; return the commit's id.

        Repository and branch are made if they do not exist; ``settings`` are ``private``, ``gated`` ("auto", "manual") and
        ``accepted``, the users who may have the files of a gated repository.
        """
        with self.store.lock:
            repository = self.store.repositories.get(repo) or self.store.create(repo, OWNER)
            for name, value in settings.items():
                setattr(repository, name, value)
            first = repository.commits[repository.branches["main"]]
            repository.branches.setdefault(revision, first.id)
            patterns = writing.large_patterns(self, first)
            large = {path: writing.is_large(path, len(data), data[:512], patterns) for path, data in files.items()}
            entries = {path: self.store.file(data, large[path]) for path, data in files.items()}
            entries.setdefault(".gitattributes", first.files[".gitattributes"])
            commit = self.store.commit(repository, revision, entries, "put", author=OWNER)
            if tag:
                repository.tags[tag] = commit.id
            self.store.save(repository)
        return commit.id

    def environment(self, home, token=WRITE_TOKEN, xet=False, **more):
        """Return the environment of a process whose client knows only this Hub and keeps its files in ``home``.

        ``token`` None makes the client anonymous; ``xet`` leaves Xet on, as it is by default.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "HUGGING_FACE_")) and name.lower() not in PROXIES
        }
        chosen = {"HF_TOKEN": token} if token else {}
        chosen |= {} if xet else {"HF_HUB_DISABLE_XET": "1"}
        fixed = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        where = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1,localhost"}
        return kept | chosen | fixed | where | more

    def ticket(self, oid, size):
        """Return the signature by which this Hub recognises a url that it gave out."""
        return hashlib.sha256(f"{self.secret} {oid} {size}".encode()).hexdigest()[:16]

    def has(self, oid):
        return self.store.path(oid).is_file()

    def size(self, oid):
        return self.store.size(oid)

    def content(self, file):
        """Return the bytes of a file of a commit."""
        return self.store.path(file.sha256).read_bytes()
