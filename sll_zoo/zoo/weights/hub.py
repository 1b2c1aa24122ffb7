"""The Hugging Face Hub: where weights come from when the checkout does not have them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import constants, get_hf_file_metadata, get_token, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError is httpx's, or httpx2's
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from sll_zoo.errors import SllZooError, WeightsError
from sll_zoo.zoo.weights.shards import PICKLE_FILE, WEIGHTS_FILE, convert_pickle

# Errors that the Hub's client raises if the Hub, the network, the disk or a name is at fault; RuntimeError comes from hf_xet.
HUB_ERRORS = (HTTPError, HFValidationError, OSError, RuntimeError)
ANSWER_SECONDS = 8.0
OFFLINE_REMEDY = (
    "connect to the network; or copy a folder that `sll-zoo pull MODEL --to DIR` made elsewhere and load 'local-dir:DIR'; "
    "or fill the cache before with `sll-zoo pull MODEL`"
)


# Remedies by kind of error; the first kind that fits counts.
REMEDIES: dict[type[Exception], str] = {
    GatedRepoError: "ask for access on its page, and log in with `hf auth login`",
    RepositoryNotFoundError: "check the name; a private repository needs `hf auth login` or HF_TOKEN",
    RevisionNotFoundError: "check the revision behind the @: a branch, a tag or a commit",
    LocalEntryNotFoundError: OFFLINE_REMEDY,
    EntryNotFoundError: "give a repository that `sll-zoo publish` made",
    HFValidationError: "give org/name or org/name@revision",
}


def endpoint() -> str:
    """Return the Hub's address without a user's name or password."""
    url = urlsplit(constants.ENDPOINT)
    return url._replace(netloc=url.netloc.rpartition("@")[2]).geturl()


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, without the user's token."""
    return _without_secrets((str(error).strip() or type(error).__name__).splitlines()[0])


def redacted(error: BaseException) -> BaseException:
    """Remove the token and the Hub's password from an error and its causes, so that no traceback shows them, and return it."""
    link: BaseException | None = error
    while link:
        link.args = tuple(_without_secrets(part) if isinstance(part, str) else part for part in link.args)
        link = link.__cause__ or link.__context__
    return error


def _without_secrets(text: str) -> str:
    text, token = text.replace(constants.ENDPOINT, endpoint()), get_token()
    return text.replace(token, "…") if token else text


@contextmanager
def kept_unless_refused(paths: Sequence[Path]) -> Iterator[None]:
    """Remove files from the Hub's cache if the block refuses them: the links in a snapshot, and the content they point to."""
    try:
        yield
    except SllZooError:
        for path in paths:
            content = path.resolve()
            path.unlink(missing_ok=True)
            content.unlink(missing_ok=True)
        raise


class Repository:
    """A model's repository on the Hub, with its files in the Hub's cache.

    Args:
        model_id: ``org/name``, or ``org/name@revision`` with a branch, a tag or a commit.
        cache_dir: A folder to use instead of the Hub's own cache.
    """

    def __init__(self, model_id: str, cache_dir: str | Path | None = None) -> None:
        self.model_id = model_id
        self.cache_dir = cache_dir
        self.name, _, revision = model_id.partition("@")
        self.revision = revision or None
        self._silent = constants.HF_HUB_OFFLINE

    def cached(self, filename: str) -> Path | None:
        """Return the file's path in the cache, or None."""
        try:
            path = try_to_load_from_cache(self.name, filename, cache_dir=self.cache_dir, revision=self.revision)
        except HFValidationError:
            return None
        return Path(path) if isinstance(path, str) else None

    def download(self, filename: str, size: int | None = None) -> Path:
        """Return the path of a file, from the network or, where that cannot be reached, from the cache.

        Args:
            filename: Path inside the repository.
            size: Largest size to accept, in bytes; None for any.

        Raises:
            WeightsError: The name, revision or file does not exist, the file is too large, or the Hub cannot be reached and the
                cache does not have it. A Hub that does not answer costs ``ANSWER_SECONDS`` once, not the minutes of the client's
                retries.
        """
        known = self.cached(filename)
        try:
            found = None if self._silent else self._size(filename)
        except HUB_ERRORS as error:
            if known:
                return known
            if not _busy(error):
                raise self._refused(filename, error) from redacted(error)
            found = size
        if self._silent:
            if known:
                return known
            raise WeightsError(
                f"{filename} of {self.model_id} is not in the cache, and {endpoint()} cannot be reached", OFFLINE_REMEDY
            )
        if size is not None and found is not None and found > size:
            more = f"{filename} of {self.model_id} has {found:,} bytes on {endpoint()}, {found - size:,} more than it may have"
            raise WeightsError(more, "it is another file")
        try:
            return Path(
                hf_hub_download(self.name, filename, revision=self.revision, cache_dir=self.cache_dir, library_name="sll_zoo")
            )
        except HUB_ERRORS as error:
            raise self._refused(filename, error) from redacted(error)

    def download_if_there(self, filename: str) -> Path | None:
        """Return the path that :meth:`download` returns, or None if the repository has no such file."""
        try:
            return self.download(filename)
        except WeightsError as error:
            if _is_absent(error.__cause__):
                return None
            raise

    def _size(self, filename: str) -> int | None:
        """Return the size that the Hub states of a file, or None; remember it if the Hub does not answer in time."""
        url = hf_hub_url(self.name, filename, revision=self.revision)
        answer = _within(ANSWER_SECONDS, lambda: get_hf_file_metadata(url, timeout=ANSWER_SECONDS).size)
        if isinstance(answer, HfHubHTTPError | FileMetadataError):
            raise answer
        self._silent = isinstance(answer, Exception)
        return answer if isinstance(answer, int) else None

    def _holds(self, filename: str) -> bool:
        try:
            return self._size(filename) is not None
        except HUB_ERRORS:
            return False

    def _refused(self, filename: str, error: Exception) -> WeightsError:
        if filename == WEIGHTS_FILE and _is_absent(error) and self._holds(PICKLE_FILE):
            return WeightsError(
                f"{self.model_id} has no {filename} but {PICKLE_FILE}, a pickle, which is never loaded",
                f"{convert_pickle('DIR')} after `hf download {self.name} --local-dir DIR`, for local-dir:DIR",
            )
        # A missing and a private repository look the same without a login.
        if isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError):
            what = f"the repository {self.name} does not exist on {endpoint()}, or is private"
        else:
            what = f"{filename} of {self.model_id} could not be had from {endpoint()} ({first_line(error)})"
        remedies = (remedy for kind, remedy in REMEDIES.items() if isinstance(error, kind))
        return WeightsError(what, next(remedies, "check name, network and disk, and try again"))


def _is_absent(error: BaseException | None) -> bool:
    """Return whether an error says that a repository exists but does not have the file."""
    return isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)


def _busy(error: Exception) -> bool:
    """Return whether the Hub is busy, so that the client's own retries may help."""
    return isinstance(error, HfHubHTTPError) and error.response.status_code in (408, 429, 500, 502, 503, 504)


def _within(seconds: float, ask: Callable[[], int | None]) -> int | Exception | None:
    """Return what ``ask`` returns, or the error of ``HUB_ERRORS`` that it raises, or a TimeoutError after so many seconds."""
    answers: list[int | Exception | None] = [TimeoutError()]

    def run() -> None:
        try:
            answers.append(ask())
        except HUB_ERRORS as error:
            answers.append(error)

    thread = threading.Thread(target=run, daemon=True)  # a daemon: waiting for a name server must not keep the process alive
    thread.start()
    thread.join(seconds)
    return answers[-1]
