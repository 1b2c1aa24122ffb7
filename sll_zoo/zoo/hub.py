"""The Hugging Face Hub: where weights come from when the checkout does not have them."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError, HTTPError  # type: ignore[attr-defined]  # httpx's, or httpx2's

from sll_zoo.errors import WeightsError

CONNECT_SECONDS = 5.0
OFFLINE_REMEDY = (
    "connect to the network, or fill the cache before and set HF_HUB_OFFLINE=1, "
    "or load a folder with create_model('local-dir:PATH')"
)


def split_revision(model_id: str) -> tuple[str, str | None]:
    """Return ``org/name`` and the revision of ``org/name@revision``, None where there is none."""
    repo, _, revision = model_id.partition("@")
    return repo, revision or None


def cached(model_id: str, filename: str, cache_dir: str | Path | None = None) -> Path | None:
    """Return the file's path in the Hub cache, or None."""
    repo, revision = split_revision(model_id)
    try:
        path = try_to_load_from_cache(repo, filename, cache_dir=cache_dir, revision=revision)
    except HFValidationError:
        return None
    return Path(path) if isinstance(path, str) else None


def download(model_id: str, filename: str, cache_dir: str | Path | None = None) -> Path:
    """Return the path of a file of a Hub repository, from the network or, where that cannot be reached, from the cache.

    Args:
        model_id: ``org/name`` or ``org/name@revision``.
        filename: Path inside the repository.
        cache_dir: Instead of the Hub's own cache.

    Raises:
        WeightsError: The name, revision or file does not exist, or the Hub cannot be reached and the cache does not have it.
            Where nothing answers, this takes ``CONNECT_SECONDS`` and not the minutes of the client's retries.
    """
    known = cached(model_id, filename, cache_dir)
    if constants.HF_HUB_OFFLINE or not _reachable():
        if known is None:
            raise WeightsError(
                f"{filename} of {model_id} is not in the cache, and {constants.ENDPOINT} cannot be reached", OFFLINE_REMEDY
            )
        return known
    repo, revision = split_revision(model_id)
    try:
        return Path(hf_hub_download(repo, filename, revision=revision, cache_dir=cache_dir, library_name="sll_zoo"))
    except (HTTPError, HFValidationError, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(
            f"{filename} of {model_id} could not be had from {constants.ENDPOINT} ({reason})", "check the name"
        ) from error


def _reachable() -> bool:
    if urllib.request.getproxies().keys() - {"no"}:
        return True  # only the proxy knows
    url = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((url.hostname, url.port or {"http": 80}.get(url.scheme, 443)), CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
