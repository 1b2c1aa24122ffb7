"""Published files: they are downloaded on request, and checked by their checksums."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torchvision.datasets.utils import check_integrity, download_and_extract_archive

from sll_zoo.errors import InputError


def download(url: str, root: Path, md5: str) -> None:
    """Fetch an archive into ``root``, unless it is there, and unpack it.

    Raises:
        InputError: The archive cannot be reached, or has another checksum than the published one.
    """
    try:
        download_and_extract_archive(url, str(root), md5=md5)
    except (OSError, RuntimeError) as error:  # torchvision raises RuntimeError for a wrong checksum
        raise InputError(f"{url} cannot be downloaded ({error})", f"fetch it by other means and unpack it in {root}") from error


def require(path: Path, url: str, md5: str | None = None, instead: str = "") -> None:
    """Raise InputError unless a file is there, and has the checksum that was published if one is given.

    Args:
        path: A file of an archive.
        url: Where the archive is.
        md5: Checksum of the file.
        instead: What can be given in place of the archive.
    """
    remedy = f"give download=True, or unpack {url} in the folder given as root"
    if not path.exists():
        raise InputError(f"{path} does not exist", f"{remedy}, or give {instead}" if instead else remedy)
    if md5 and not check_integrity(path, md5):
        raise InputError(f"{path} is damaged: its md5 is not {md5}", f"remove it, then {remedy}")


def require_one(folders: Sequence[Path]) -> None:
    """Raise InputError if there is more than one folder that holds the images of a data set."""
    if len(folders) > 1:
        raise InputError(f"{folders[0]} and {folders[1]} both hold images", "remove one, or give a root that holds one")
