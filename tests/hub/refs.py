"""Branches and tags."""

from tests.hub.access import commit_of, visible, writable
from tests.hub.routing import route
from tests.hub.transport import Answer, RefusedError


@route("GET", "/api/models/{repo}/refs")
def refs(hub, request, repo):
    repository = visible(hub, request, repo)
    tags = [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": sha} for name, sha in repository.tags.items()]
    branches = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha} for name, sha in repository.branches.items()]
    return Answer.json({"tags": tags, "branches": branches, "converts": []})


@route("POST", "/api/models/{repo}/tag/{rev}")
def create_tag(hub, request, repo, rev):
    repository = writable(hub, request, repo)
    return created(hub, repository, repository.tags, request.json()["tag"], rev)


@route("POST", "/api/models/{repo}/branch/{name}")
def create_branch(hub, request, repo, name):
    repository = writable(hub, request, repo)
    return created(hub, repository, repository.branches, name, request.json().get("startingPoint") or "main")


def created(hub, repository, references, name, revision):
    """Add a new branch or tag for a commit."""
    with hub.store.lock:
        if name in references:
            raise RefusedError(409, f"Reference already exists: {name}")
        references[name] = commit_of(repository, revision).id
        hub.store.save(repository)
    return Answer.json({})


@route("DELETE", "/api/models/{repo}/tag/{name}")
def delete_tag(hub, request, repo, name):
    repository = writable(hub, request, repo)
    return deleted(hub, repository, repository.tags, name)


@route("DELETE", "/api/models/{repo}/branch/{name}")
def delete_branch(hub, request, repo, name):
    if name == "main":
        raise RefusedError(403, "main cannot be deleted")
    repository = writable(hub, request, repo)
    return deleted(hub, repository, repository.branches, name)


def deleted(hub, repository, references, name):
    with hub.store.lock:
        if references.pop(name, None) is None:
            raise RefusedError(404, f"Invalid rev id: {name}", "RevisionNotFound")
        hub.store.save(repository)
    return Answer.json({})
