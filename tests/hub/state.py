"""The Hub's storage: one JSON file for each repository, with its commits, and the contents of files by their sha256.

Every file is written under a temporary name and renamed, so that a client or server that is killed leaves no half file. A commit
is one rename of the repository's file: all of it is there, or nothing.
"""

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

LARGE = 10_000_000  # bytes; a larger file is not stored as a git object
LFS_SUFFIXES = ("safetensors", "bin", "pt", "pth", "ckpt", "npz", "npy", "onnx", "h5", "zip", "gz")
GITATTRIBUTES = "".join(f"*.{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LFS_SUFFIXES).encode()


class WrongContentError(ValueError):
    """The bytes do not have the announced hash or size."""


@dataclass(frozen=True)
class File:
    """One file of a commit; ``lfs`` says whether clients know it by sha256 or by git's hash."""

    sha256: str
    size: int
    blob: str
    lfs: bool

    @property
    def oid(self):
        return self.sha256 if self.lfs else self.blob


@dataclass(frozen=True)
class Commit:
    id: str
    title: str
    message: str
    date: str
    author: str
    files: dict[str, File]
    parent: str | None = None


@dataclass
class Repository:
    id: str
    owner: str
    created: str
    private: bool = False
    gated: str | bool = False
    accepted: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)

    def find(self, revision):
        """Return the commit of a branch, a tag, a commit id or at least 7 digits of one; None if there is none."""
        commit_id = self.branches.get(revision) or self.tags.get(revision)
        if commit_id is None and len(revision) >= 7:
            commit_id = next((known for known in self.commits if known.startswith(revision)), None)
        return self.commits.get(commit_id)

    def history(self, commit):
        """Return the commit and all before it, the newest first."""
        line = [commit]
        while line[-1].parent:
            line.append(self.commits[line[-1].parent])
        return line

    @classmethod
    def read(cls, text):
        known = json.loads(text)
        for commit_id, commit in known["commits"].items():
            files = {path: File(**file) for path, file in commit.pop("files").items()}
            known["commits"][commit_id] = Commit(files=files, **commit)
        return cls(**known)


class Store:
    """Repositories and contents of files in a folder, which keeps them for the next Hub."""

    def __init__(self, folder):
        self.lock = threading.RLock()
        self.objects, self.listings = Path(folder) / "objects", Path(folder) / "repositories"
        self.objects.mkdir(parents=True, exist_ok=True)
        self.listings.mkdir(exist_ok=True)
        found = [Repository.read(path.read_text()) for path in sorted(self.listings.glob("*/*.json"))]
        self.repositories = {repository.id: repository for repository in found}

    def create(self, repository_id, owner, **settings):
        """Make a repository as the Hub does: its first commit says which files are large."""
        repository = Repository(repository_id, owner, now(), **settings)
        self.repositories[repository_id] = repository
        files = {".gitattributes": self.file(GITATTRIBUTES, lfs=False)}
        self.commit(repository, "main", files, "initial commit", author=owner)
        return repository

    def save(self, repository):
        path = self.listings / f"{repository.id}.json"
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as stream:
            stream.write(json.dumps(asdict(repository), indent=1).encode())

    def delete(self, repository):
        del self.repositories[repository.id]
        (self.listings / f"{repository.id}.json").unlink()

    def path(self, sha256):
        return self.objects / sha256

    def size(self, sha256):
        return self.path(sha256).stat().st_size

    def file(self, content, lfs):
        """Store the bytes and return the entry of a commit."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.receive([content], sha256, len(content))
        return large_file(sha256, len(content)) if lfs else File(sha256, len(content), blob_hash(content), lfs=False)

    def receive(self, pieces, sha256, size):
        """Store the joined pieces if they have the announced hash and size; otherwise leave the store unchanged."""
        seen, digest = 0, hashlib.sha256()
        with atomic_write(self.path(sha256)) as stream:
            for piece in pieces:
                seen += len(piece)
                digest.update(piece)
                stream.write(piece)
            if (seen, digest.hexdigest()) != (size, sha256):
                raise WrongContentError(f"{seen} bytes of sha256 {digest.hexdigest()}, not {size} of {sha256}")

    def commit(self, repository, branch, files, title, message="", author=""):
        """Commit ``files``, all files by path, as the state of a branch; an unchanged state makes no commit."""
        parent = repository.branches.get(branch)
        if parent and repository.commits[parent].files == files:
            return repository.commits[parent]
        commit = Commit("", title, message, now(), author, files, parent)
        commit = replace(
            commit, id=hashlib.sha1(json.dumps([repository.id, asdict(commit)]).encode(), usedforsecurity=False).hexdigest()
        )
        repository.commits[commit.id] = commit
        repository.branches[branch] = commit.id
        self.save(repository)
        return commit


@contextmanager
def atomic_write(path):
    """Give a stream whose bytes become the file ``path`` if the block ends without an error; otherwise nothing is written."""
    with TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        with (Path(folder) / path.name).open("wb") as stream:
            yield stream
        (Path(folder) / path.name).replace(path)


def now():
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def blob_hash(content):
    """Return the name that git gives to the content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def large_file(sha256, size):
    """Return the commit's entry for a file that git stores as a pointer."""
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    return File(sha256, size, blob_hash(pointer.encode()), lfs=True)
