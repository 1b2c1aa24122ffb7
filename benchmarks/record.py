"""How a benchmark says what it ran on and writes its table."""

import platform
from importlib.metadata import version
from pathlib import Path

import torch

from sll_zoo.files import written_whole

HERE = Path(__file__).parent


def environment() -> str:
    """Return device and versions in one line."""
    device = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return f"{device}, Python {platform.python_version()}, torch {version('torch')}"


def write_page(name: str, text: str) -> None:
    """Write a page beside the script that made it."""
    with written_whole(HERE / name) as temporary:
        temporary.write_text(text, "utf-8")
