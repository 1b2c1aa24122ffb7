"""Tokens and their rights, and refusals in the terms of the real Hub.

A request for a missing or private repository gets status 401 without a token, and 404 with a token that has no right to it.
"""

from dataclasses import dataclass

from tests.hub.transport import RefusedError


@dataclass(frozen=True)
class Token:
    user: str
    role: str  # "write" or "read"


def identity(hub, request):
    """Return the token that a request came with, None if it is anonymous.

    Raises:
        RefusedError: The token is not known.
    """
    if request.token and request.token not in hub.tokens:
        raise RefusedError(401, "Invalid credentials in Authorization header")
    return hub.tokens.get(request.token)


def known_user(hub, request):
    """Return the token of a request, and refuse an anonymous one."""
    who = identity(hub, request)
    if who is None:
        raise RefusedError(401, "Invalid username or password.")
    return who


def writer(hub, request):
    """Return the token of a request, and refuse one that may not write."""
    who = known_user(hub, request)
    if who.role != "write":
        raise RefusedError(403, "This token may read only: a token with the role 'write' is needed")
    return who


def visible(hub, request, repo):
    """Return the repository, and refuse a user who may not know that it exists."""
    who, repository = identity(hub, request), hub.store.repositories.get(repo)
    if repository and not (repository.private and (who is None or who.user != repository.owner)):
        return repository
    if who is None:
        raise RefusedError(401, "Invalid username or password.", "RepoNotFound")
    raise RefusedError(404, "Repository not found", "RepoNotFound")


def readable(hub, request, repo):
    """Return the repository, and refuse a user who may not have its files."""
    who, repository = identity(hub, request), visible(hub, request, repo)
    if repository.gated and (who is None or who.user not in (repository.owner, *repository.accepted)):
        message = f"Access to model {repo} is restricted: ask for it on its page"
        raise RefusedError(401 if who is None else 403, message, "GatedRepo")
    return repository


def writable(hub, request, repo):
    """Return the repository, and refuse a user who may not change it."""
    repository, who = visible(hub, request, repo), writer(hub, request)
    if who.user != repository.owner:
        raise RefusedError(403, f"{who.user} has no right to write to {repo}")
    return repository


def may_found(hub, who, namespace):
    """Refuse a namespace that is another user's name, or where another user has a repository."""
    users = {token.user for token in hub.tokens.values()}
    owners = {repository.owner for name, repository in hub.store.repositories.items() if name.startswith(namespace + "/")}
    if namespace != who.user and (namespace in users or owners - {who.user}):
        raise RefusedError(403, f"{who.user} has no right to create a repository under {namespace}")


def commit_of(repository, revision):
    """Return the commit of a revision."""
    commit = repository.find(revision)
    if commit is None:
        raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return commit
