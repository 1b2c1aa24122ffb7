"""Writing files whole or not at all, and as JSON."""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

# Errors that torch raises when it loads a file that it did not write, or one that is damaged.
DAMAGE = (AttributeError, RuntimeError, LookupError, ValueError, EOFError, pickle.UnpicklingError)


def json_number(value: Any) -> Any:
    """Return the value, or None in place of NaN and infinity, which JSON does not have.

    Example:
        >>> [json_number(value) for value in (1.5, float("inf"), "inf")]
        [1.5, None, 'inf']
    """
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write readable JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to ``path`` when the block ends well; else leave ``path`` as it was.

    Folders are created. The temporary file lies in a folder of its own beside ``path``, so that two processes do not collide and
    the rename is atomic.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
        temporary = Path(folder) / path.name
        yield temporary
        temporary.replace(path)


def obstacle(folder: Path) -> str:
    """Return why a folder, which need not exist yet, cannot be written to; an empty text if it can. It stays as it is."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        return f"{folder} cannot be written to because {existing} is a file"
    try:
        with TemporaryDirectory(dir=existing, prefix=".trial-"):
            return ""
    except OSError as error:
        return f"{folder} cannot be written to ({error})"


def obstacle_to_file(path: Path) -> str:
    """Return why a file cannot be written or replaced, in a folder that need not exist yet; an empty text if it can."""
    return f"{path} is a folder" if path.is_dir() else obstacle(path.parent)


def rewrite_between(path: Path, begin: str, end: str, content: str) -> None:
    """Replace the text between two marks in a file; each mark is a line of its own."""
    between = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    text = path.read_text("utf-8")
    with atomic_write(path) as temporary:
        temporary.write_text(between.sub(lambda _: f"{content}\n", text), "utf-8")
