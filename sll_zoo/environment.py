"""Where a measurement is made: versions, device, commit, and how its memory is had."""

from __future__ import annotations

import ctypes
import platform
import subprocess
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

CHECKOUT = Path(__file__).parents[1]


def versions_of(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of installed packages.

    Example:
        >>> list(versions_of(["torch"]))
        ['python', 'torch']
    """
    return {"python": platform.python_version(), **{package: _version(package) for package in packages}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # on the path without being installed
        return str(import_module(package).__version__)


def describe_device(device: torch.device) -> str:
    """Return a device in words: a GPU's name, or the processor's architecture and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"CPU ({platform.machine()}), {torch.get_num_threads()} threads"
    return device.type


def commit(checkout: Path = CHECKOUT) -> str | None:
    """Return the commit of a checkout of this project, with ``-dirty`` if tracked files differ from it; None where there is none.

    Args:
        checkout: The folder that holds ``.git``.
    """
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603 - no input of others
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()


def keep_freed_memory() -> None:
    """Let this process keep most of the memory that it frees, where its C library is glibc; nothing happens elsewhere.

    Otherwise each large tensor on the CPU is new memory, which the kernel fills with zeros a page at a time: a sixth of a
    training step of a small network (32 channels, batch of 128, two threads, medians of interleaved runs).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mmap_threshold, trim_threshold = -3, -1
    library = ctypes.CDLL(None)
    # Before 2.35 it refuses more than 32 MiB for the first.
    if library.mallopt(mmap_threshold, 2**30) or library.mallopt(mmap_threshold, 2**25):
        library.mallopt(trim_threshold, 2**31 - 1)
