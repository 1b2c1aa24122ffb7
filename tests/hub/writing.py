"""Requests that change a repository: preupload, large files by LFS, and commits."""

import base64
import json
from fnmatch import fnmatch

from tests.hub import xet
from tests.hub.access import commit_of, writable
from tests.hub.routing import route
from tests.hub.state import LARGE, WrongContentError, large_file
from tests.hub.transport import Answer, RefusedError


@route("POST", "/api/models/{repo}/preupload/{rev}")
def preupload(hub, request, repo, rev):
    no_pull_request(request)
    commit = commit_of(writable(hub, request, repo), rev)
    patterns = large_patterns(hub, commit)
    asked = [upload_mode(commit, patterns, file) for file in request.json()["files"]]
    return Answer.json({"files": asked})


def no_pull_request(request):
    if "create_pr" in request.query:
        raise RefusedError(400, "this Hub has no pull requests")


def large_patterns(hub, commit):
    """Return the patterns of files that .gitattributes assigns to LFS."""
    attributes = hub.content(commit.files[".gitattributes"]).decode() if ".gitattributes" in commit.files else ""
    return [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]


def upload_mode(commit, patterns, file):
    """Return how a client is to send a file, and the hash of the file that has its name now."""
    path, known = file["path"], commit.files.get(file["path"])
    mode = "lfs" if is_large(path, file["size"], base64.b64decode(file.get("sample", "")), patterns) else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": known.oid if known else None}


def is_large(path, size, sample, patterns):
    """Return whether a file belongs to LFS: by its name, its size or the look of its first bytes."""
    named = any(fnmatch(path, pattern) or fnmatch(path.rpartition("/")[2], pattern) for pattern in patterns)
    return named or size > LARGE or b"\0" in sample


@route("POST", "/{repo}.git/info/lfs/objects/batch")
def batch(hub, request, repo):
    writable(hub, request, repo)
    wish, objects = request.json(), []
    for wanted in wish["objects"]:
        oid, size = wanted["oid"], wanted["size"]
        url = f"{hub.endpoint}/_lfs/{oid}/{size}/{hub.ticket(oid, size)}"
        actions = {} if hub.has(oid) else {"actions": {"upload": {"href": url}, "verify": {"href": url + "/verify"}}}
        objects.append({"oid": oid, "size": size} | actions)
    transfer = "xet" if "xet" in wish.get("transfers", []) else "basic"  # clients before 1.20 let the Hub choose
    return Answer.json({"transfer": transfer, "objects": objects})


@route("PUT", "/_lfs/{oid}/{size}/{ticket}")
def put(hub, request, oid, size, ticket):
    if ticket != hub.ticket(oid, int(size)):
        raise RefusedError(403, "this url was not given out by this Hub")
    try:
        hub.store.receive(request.pieces(), oid, int(size))
    except WrongContentError as error:
        raise RefusedError(400, str(error)) from error
    return Answer()


@route("POST", "/_lfs/{oid}/{size}/{ticket}/verify")
def verify(hub, request, oid, size, **_):
    if not (hub.has(oid) and hub.store.path(oid).stat().st_size == request.json()["size"] == int(size)):
        raise RefusedError(404, f"there are no {size} bytes of sha256 {oid} here")
    return Answer.json({})


@route("POST", "/api/models/{repo}/commit/{rev}")
def commit(hub, request, repo, rev):
    no_pull_request(request)
    lines = [json.loads(line) for line in request.body().splitlines() if line.strip()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    writable(hub, request, repo)
    for line in lines:
        if line["key"] == "lfsFile":
            xet.fetch_missing(hub, line["value"]["oid"])
    with hub.store.lock:
        repository = writable(hub, request, repo)
        if rev not in repository.branches:
            raise RefusedError(404, f"Invalid rev id: {rev}", "RevisionNotFound")
        if header.get("parentCommit", repository.branches[rev]) != repository.branches[rev]:
            raise RefusedError(412, "A commit has happened since. Please refresh and try again.")
        files = dict(commit_of(repository, rev).files)
        for line in lines:
            CHANGES.get(line["key"], nothing)(hub, files, **line["value"])
        made = hub.store.commit(repository, rev, files, header["summary"], header.get("description", ""), repository.owner)
    url = f"{hub.endpoint}/{repo}/commit/{made.id}"
    return Answer.json({"success": True, "commitOid": made.id, "commitUrl": url, "hookOutput": "", "pullRequestUrl": None})


def nothing(*_, **__):
    pass


def add_file(hub, files, path, content, encoding="utf-8"):
    data = base64.b64decode(content) if encoding == "base64" else content.encode()
    files[path] = hub.store.file(data, lfs=False)


def add_large_file(hub, files, path, oid, size=None, **_):
    if not hub.has(oid):
        raise RefusedError(400, f"the content of {path}, sha256 {oid}, was not uploaded")
    if size not in (None, hub.size(oid)):
        raise RefusedError(400, f"{path} has {hub.size(oid)} bytes, not {size}")
    files[path] = large_file(oid, hub.size(oid))


def delete_file(_, files, path):
    if files.pop(path, None) is None:
        raise RefusedError(400, f"{path} cannot be deleted: it does not exist")


def delete_folder(_, files, path):
    for name in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
        del files[name]


CHANGES = {"file": add_file, "lfsFile": add_large_file, "deletedFile": delete_file, "deletedFolder": delete_folder}
