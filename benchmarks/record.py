"""Describing the machine of a benchmark, and writing its page."""

import platform
from importlib.metadata import version
from pathlib import Path

import torch

from sll_zoo.files import atomic_write

HERE = Path(__file__).parent


def environment() -> str:
    """Return processor and versions in one line."""
    device = f"{_processor()}, {torch.get_num_threads()} threads"
    return f"{device}, Python {platform.python_version()}, torch {version('torch')}"


def _processor() -> str:
    """Return the processor's name if the system tells it, or else its architecture."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else f"{platform.machine()} CPU"


def resident_peak() -> float:
    """Return the most memory that this process has had, in MB; Linux only."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e6


def write_page(name: str, text: str) -> None:
    """Write a page beside the script that made it."""
    with atomic_write(HERE / name) as temporary:
        temporary.write_text(text, "utf-8")
