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

# What the Hub's client raises for what the Hub, the network, the disk or a name does; RuntimeError is hf_xet's.
HUB_ERRORS = (HTTPError, HFValidationError, OSError, RuntimeError)
ANSWER_SECONDS = 8.0
OFFLINE_REMEDY = (
    "connect to the network; or copy a folder that `sll-zoo pull MODEL --to DIR` made elsewhere and load 'local-dir:DIR'; "
    "or fill the cache before with `sll-zoo pull MODEL`"
)


# By the first that fits.
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
    """Return the error, when what it and its causes say, and a traceback shows, no longer has a token or the Hub's password."""
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
    """Take files of which something is refused out of the cache: the names in a snapshot, and the content they point to."""
    try:
        yield
    except SllZooError:
        for path in paths:
            content = path.resolve()
            path.unlink(missing_ok=True)
            content.unlink(missing_ok=True)
        raise


class Repository:
    """A model's repository on the Hub, and what the cache has of it.

    Args:
        model_id: ``org/name``, or ``org/name@revision`` with a branch, a tag or a commit.
        cache_dir: Instead of the Hub's own cache.
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
            size: In bytes, above which the file is not wanted; None for any.

        Raises:
            WeightsError: The name, revision or file does not exist, it is larger than that, or the Hub cannot be reached and the
                cache does not have it. Where nothing answers, this takes ``ANSWER_SECONDS``, not the minutes of the client's
                retries, and only once.
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
        """Return what :meth:`download` does, or None if the repository has no such file."""
        try:
            return self.download(filename)
        except WeightsError as error:
            if _is_absent(error.__cause__):
                return None
            raise

    def _size(self, filename: str) -> int | None:
        """Return the size that the Hub states of a file, None where it states none; note where the Hub says nothing in time."""
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
        # Without a login the Hub does not say which of the two it is.
        if isinstance(error, RepositoryNotFoundError) and not isinstance(error, GatedRepoError):
            what = f"the repository {self.name} does not exist on {endpoint()}, or is private"
        else:
            what = f"{filename} of {self.model_id} could not be had from {endpoint()} ({first_line(error)})"
        remedies = (remedy for kind, remedy in REMEDIES.items() if isinstance(error, kind))
        return WeightsError(what, next(remedies, "check name, network and disk, and try again"))


def _is_absent(error: BaseException | None) -> bool:
    """Return whether a repository that is there has no such file."""
    return isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError)


def _busy(error: Exception) -> bool:
    """Return whether the client's own patience may help."""
    return isinstance(error, HfHubHTTPError) and error.response.status_code in (408, 429, 500, 502, 503, 504)


def _within(seconds: float, ask: Callable[[], int | None]) -> int | Exception | None:
    """Return what ``ask`` returns or raises of ``HUB_ERRORS``, or TimeoutError if that takes longer, whatever it waits for."""
    answers: list[int | Exception | None] = [TimeoutError()]

    def run() -> None:
        try:
            answers.append(ask())
        except HUB_ERRORS as error:
            answers.append(error)

    thread = threading.Thread(target=run, daemon=True)  # one that still waits for a name server must not keep the process alive
    thread.start()
    thread.join(seconds)
    return answers[-1]
