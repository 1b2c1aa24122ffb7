"""Requests that read a repository: its description, revisions, history, tree and files."""

import hashlib

from tests.hub import cards
from tests.hub.access import commit_of, readable, visible
from tests.hub.routing import route
from tests.hub.transport import Answer, RefusedError


@route("GET", "/api/models/{repo}")
def model(hub, request, repo):
    return revision(hub, request, repo, "main")


@route("GET", "/api/models/{repo}/revision/{rev}")
def revision(hub, request, repo, rev):
    repository = visible(hub, request, repo)
    return Answer.json(information(hub, repository, commit_of(repository, rev), request.query.get("blobs") == "true"))


def information(hub, repository, commit, with_blobs=False):
    """Return the Hub's description of a model: the card's metadata, and its files."""
    text = hub.content(commit.files["README.md"]).decode() if "README.md" in commit.files else ""
    card = {} if cards.problems(text)[0] else cards.metadata(text)
    known = {key: card[key] for key in ("pipeline_tag", "library_name") if key in card}
    return known | {
        "_id": hashlib.sha1(repository.id.encode(), usedforsecurity=False).hexdigest()[:24],
        "id": repository.id,
        "modelId": repository.id,
        "author": repository.id.partition("/")[0],
        "sha": commit.id,
        "createdAt": repository.created,
        "lastModified": commit.date,
        "private": repository.private,
        "gated": repository.gated,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": cards.as_list(card.get("tags", [])),
        "cardData": card,
        "siblings": [sibling(path, file, with_blobs) for path, file in sorted(commit.files.items())],
    }


def sibling(path, file, with_blobs):
    if not with_blobs:
        return {"rfilename": path}
    lfs = {"lfs": {"sha256": file.sha256, "size": file.size, "pointerSize": 133}} if file.lfs else {}
    return {"rfilename": path, "blobId": file.blob, "size": file.size} | lfs


@route("GET", "/api/models/{repo}/commits/{rev}")
def commits(hub, request, repo, rev):
    repository = visible(hub, request, repo)
    return Answer.json(
        [
            {"id": one.id, "title": one.title, "message": one.message, "date": one.date, "authors": [{"user": one.author}]}
            for one in repository.history(commit_of(repository, rev))
        ]
    )


@route("GET", "/api/models/{repo}/tree/{rev}")
@route("GET", "/api/models/{repo}/tree/{rev}/{path}")
def tree(hub, request, repo, rev, path=""):
    commit, start = commit_of(visible(hub, request, repo), rev), f"{path.strip('/')}/".lstrip("/")
    below = {name for name in names(commit) if name.startswith(start)}
    if not below:
        raise RefusedError(404, f"{path} does not exist on {rev}", "EntryNotFound")
    if request.query.get("recursive") != "true":
        below = {name for name in below if "/" not in name.removeprefix(start)}
    return Answer.json([entry(commit, name) for name in sorted(below)])


@route("POST", "/api/models/{repo}/paths-info/{rev}")
def paths_info(hub, request, repo, rev):
    commit = commit_of(visible(hub, request, repo), rev)
    wanted = request.json()["paths"] if "json" in request.headers.get("content-type", "") else request.form().get("paths", [])
    return Answer.json([entry(commit, path.strip("/")) for path in wanted if path.strip("/") in names(commit)])


def names(commit):
    """Return the paths of all files and of the folders that they are in."""
    return {"/".join(path.split("/")[:depth]) for path in commit.files for depth in range(1, path.count("/") + 2)}


def entry(commit, path):
    """Return the entry of a file or a folder in a listing."""
    file = commit.files.get(path)
    if file is None:
        inside = sorted((name, one.blob) for name, one in commit.files.items() if name.startswith(path + "/"))
        return {
            "type": "directory",
            "oid": hashlib.sha1(repr(inside).encode(), usedforsecurity=False).hexdigest(),
            "size": 0,
            "path": path,
        }
    lfs = {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 133}} if file.lfs else {}
    return {"type": "file", "oid": file.blob, "size": file.size, "path": path} | lfs


@route("GET", "/{repo}/resolve/{rev}/{path}")
def resolve(hub, request, repo, rev, path):
    commit = commit_of(readable(hub, request, repo), rev)
    file = commit.files.get(path)
    if file is None:
        raise RefusedError(404, "Entry not found", "EntryNotFound", **{"X-Repo-Commit": commit.id})
    headers = {"X-Repo-Commit": commit.id, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
    if hub.xorbs.hash_of(file.sha256):
        route_to_token = f'<{hub.endpoint}/api/models/{repo}/xet-read-token/{commit.id}>; rel="xet-auth"'
        headers |= {"X-Xet-Hash": hub.xorbs.hash_of(file.sha256), "Link": route_to_token}
    return Answer(200, hub.store.path(file.sha256), headers | {"Content-Type": "application/octet-stream"}, ranges=True)
