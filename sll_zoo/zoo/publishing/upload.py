"""Uploading a folder of weights to the Hugging Face Hub: one commit, or none."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import HfApi, get_token
from huggingface_hub.errors import RepositoryNotFoundError

from sll_zoo.errors import PublishError
from sll_zoo.zoo.records.card import CARD_FILE, CURVE_FILE, TRAINING_FILE
from sll_zoo.zoo.weights.hub import HUB_ERRORS, endpoint, first_line, redacted
from sll_zoo.zoo.weights.reading import CONFIG_FILE
from sll_zoo.zoo.weights.shards import PATTERNS

# Names and patterns of all files in a repository of the zoo.
FILES = (CONFIG_FILE, *PATTERNS, CARD_FILE, CURVE_FILE, TRAINING_FILE)


@dataclass(frozen=True)
class Publication:
    """A publication on the Hub, or the plan of one in a dry run.

    Attributes:
        repo_id: ``org/name``.
        files: The size of each file in bytes, by its name.
        card: The README.md.
        warning: What could not be checked; empty if everything was.
        url: Address of the commit; empty in a dry run.
        changed: Whether the repository was changed; False in a dry run.
    """

    repo_id: str
    files: dict[str, int]
    card: str
    warning: str = ""
    url: str = ""
    changed: bool = False


def require_names(repo_id: str, revision: str, tag: str | None) -> None:
    """Raise PublishError for names that the Hub does not take."""
    if not re.fullmatch(r"[\w-]+/[\w.-]{1,96}", repo_id, re.ASCII) or re.search(r"--|\.\.|[.-]$|\.git$|/[.-]", repo_id):
        raise PublishError(f"repository {repo_id!r}", "give ORGANISATION/NAME, the first being your user name or an organisation")
    for kind, name in (("branch", revision), ("tag", tag)):
        if name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", name):
            raise PublishError(f"{kind} {name!r}", "give letters, digits, dots and dashes, such as v1.0")


def require_login(repo_id: str, private: bool) -> None:
    """Raise PublishError, before any work, if the Hub would refuse the token or the repository afterwards."""
    if not get_token():
        raise PublishError(f"no token for {endpoint()}", "log in with `hf auth login`, or set HF_TOKEN")
    api = HfApi()
    with _hub_errors(repo_id):
        role = api.whoami().get("auth", {}).get("accessToken", {}).get("role")
        if role == "read":
            raise PublishError("the token may only read", "make one that may write, on the page of your tokens")
        try:
            is_private = api.model_info(repo_id).private
        except RepositoryNotFoundError:
            return
        if private and not is_private:
            raise PublishError(f"{repo_id} exists and is public", "leave --private out, or name another repository")


def upload(found: Publication, folder: Path, message: str, private: bool, revision: str, tag: str | None) -> Publication:
    """Send ``folder`` in one commit, unless the repository has it already, and tag that commit.

    Raises:
        PublishError: The Hub or the network refuses, or the tag exists on other files. The branch has all files, or is unchanged.
    """
    api = HfApi(library_name="sll_zoo")
    repo_id = found.repo_id
    with _hub_errors(repo_id):
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        if tag and (at := _tagged(api, repo_id, tag)):
            if not _same_files(api, repo_id, at, folder):
                raise PublishError(f"{repo_id} has a tag {tag} of something else, and tags are never moved", "choose another tag")
            return replace(found, url=f"{endpoint()}/{repo_id}/tree/{tag}")
        if revision != "main":
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        before = api.model_info(repo_id, revision=revision).sha
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            revision=revision,
            commit_message=message,
            allow_patterns=list(FILES),
            delete_patterns=list(FILES),  # files of an earlier publication that this one does not have
        )
        if tag:
            api.create_tag(repo_id, tag=tag, revision=commit.oid)
        return replace(found, url=commit.commit_url, changed=commit.oid != before)


def _tagged(api: HfApi, repo_id: str, tag: str) -> str | None:
    """Return the commit of a tag, None if there is no such tag."""
    return next((ref.target_commit for ref in api.list_repo_refs(repo_id).tags if ref.name == tag), None)


def _same_files(api: HfApi, repo_id: str, revision: str, folder: Path) -> bool:
    """Return whether a revision has the very files of ``folder``."""
    local = {path.name for path in folder.iterdir()}
    # Shards under other names need no question: with them, config.json would differ as well.
    remote = {entry.path: entry for entry in api.get_paths_info(repo_id, [*local, *FILES], revision=revision)}
    if local != set(remote):
        return False
    for path in folder.iterdir():
        content, entry = path.read_bytes(), remote[path.name]
        lfs, blob_id = getattr(entry, "lfs", None), getattr(entry, "blob_id", None)
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()  # git's hash
        if (hashlib.sha256(content).hexdigest() != lfs.sha256) if lfs else (blob != blob_id):
            return False
    return True


@contextmanager
def _hub_errors(repo_id: str) -> Iterator[None]:
    """Raise errors of the Hub or the network as a PublishError, in a sentence without the token."""
    try:
        yield
    except HUB_ERRORS as error:
        if isinstance(error, PublishError):
            raise
        raise PublishError(
            f"{repo_id} could not be published on {endpoint()} ({first_line(error)})",
            "check name, token and network, and run the same command again: what is there is kept",
        ) from redacted(error)
