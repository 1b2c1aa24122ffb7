"""What a measurement is made with: versions, device, commit, and the checksum of the weights."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import safetensors.torch
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
    except PackageNotFoundError:  # the package is on the path without being installed
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


def weights_sha256(model: torch.nn.Module) -> str:
    """Return the sha256, in hexadecimal, of a network's state dict as a safetensors file.

    For weights that the zoo saved in float32 it is the hash of ``model.safetensors``; for others, of the file that
    ``safetensors.torch.save`` would write, wherever they were loaded from.
    """
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    return hashlib.sha256(safetensors.torch.save(state)).hexdigest()
