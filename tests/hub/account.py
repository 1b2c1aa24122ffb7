"""The user of a token; creating, deleting, setting up and listing repositories; checking a model card."""

import re

from tests.hub import cards
from tests.hub.access import identity, known_user, may_found, readable, visible, writable, writer
from tests.hub.reading import information
from tests.hub.routing import route
from tests.hub.transport import Answer, RefusedError


@route("GET", "/api/agent-harnesses")
def harnesses(_, __):
    return Answer.json({"standardEnvVars": [], "harnesses": {}})


@route("GET", "/api/whoami-v2")
def whoami(hub, request):
    who = known_user(hub, request)
    token = {"displayName": who.role, "role": who.role}
    user = {"type": "user", "id": who.user, "name": who.user, "fullname": who.user, "email": None, "orgs": []}
    return Answer.json(user | {"auth": {"type": "access_token", "accessToken": token}})


@route("POST", "/api/validate-yaml")
def validate_yaml(_, request):
    errors, warnings = cards.problems(request.json()["content"])
    found = {"errors": [{"message": line} for line in errors], "warnings": [{"message": line} for line in warnings]}
    return Answer.json(found, 400 if errors else 200)


@route("POST", "/api/repos/create")
def create(hub, request):
    who, wish = writer(hub, request), request.json()
    repo, url = named(hub, who, wish)
    if repo in hub.store.repositories:
        visible(hub, request, repo)
        return Answer.json({"url": url, "error": "You already created this model repo"}, 409)
    may_found(hub, who, repo.partition("/")[0])
    hub.store.create(repo, who.user, private=is_private(wish))
    return Answer.json({"url": url, "id": repo})


@route("DELETE", "/api/repos/delete")
def delete(hub, request):
    repo, _ = named(hub, writer(hub, request), request.json())
    hub.store.delete(writable(hub, request, repo))
    return Answer.json({})


def is_private(wish):
    """Return whether a request asks for a private repository, by the names of client 1.x or 2.x."""
    return wish.get("visibility") == "private" or wish.get("private") is True


def named(hub, who, wish):
    """Return the name and the url of the repository that a request is about."""
    if wish.get("type", "model") != "model":
        raise RefusedError(400, "this Hub has models only")
    repo = f"{wish.get('organization') or who.user}/{wish['name']}"
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repo):
        raise RefusedError(400, f"{repo} is no name of a repository")
    return repo, f"{hub.endpoint}/{repo}"


@route("PUT", "/api/models/{repo}/settings")
def settings(hub, request, repo):
    repository, wish = writable(hub, request, repo), request.json()
    if "visibility" in wish or "private" in wish:
        repository.private = is_private(wish)
    repository.gated = wish.get("gated", repository.gated)
    hub.store.save(repository)
    return Answer.json({})


@route("GET", "/api/models/{repo}/auth-check")
def auth_check(hub, request, repo):
    readable(hub, request, repo)
    return Answer.json({})


@route("GET", "/api/models")
def models(hub, request):
    who, ask = identity(hub, request), request.query
    found = [
        information(hub, repository, repository.find("main"))
        for name, repository in sorted(hub.store.repositories.items())
        if not repository.private or (who and who.user == repository.owner)
        if ask.get("author", name.partition("/")[0]) == name.partition("/")[0] and ask.get("search", "").lower() in name.lower()
    ]
    return Answer.json(found[: int(ask.get("limit", len(found)))])
