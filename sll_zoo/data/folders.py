"""Folders of class folders: which parts, classes and images they hold."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from sll_zoo.errors import InputError

log = logging.getLogger(__name__)
Samples = list[tuple[str, int]]
ENDINGS = ", ".join(IMG_EXTENSIONS)
# Folder names of the parts, here and in other tools; no class may have one of them.
PART_NAMES = ("train", "val", "valid", "validation", "test")
# Files that file managers leave (besides hidden ones): skipped.
LITTER = ("thumbs.db", "desktop.ini")
LAYOUT = "put images into ROOT/CLASS/, or into ROOT/train/CLASS/ and the same of test/, of val/ or of both, in lower case"


def divided(root: Path) -> dict[str, Path]:
    """Return the folders of the parts: ``train``, and ``test`` and ``validation`` if they exist; without parts, all is ``train``.

    Raises:
        InputError: No folder, or one with a part of another name, or with parts but no ``train/``.
    """
    if not root.is_dir():
        raise InputError(f"{root} is no folder", "give one that has a folder of images for each class")
    found = {path.name: path for path in sorted(root.iterdir()) if path.is_dir() and path.name.lower() in PART_NAMES}
    if other := found.keys() - {"train", "val", "test"}:
        raise InputError(f"{root / min(other)} is neither a class nor a part", LAYOUT)
    if not found:
        return {"train": root}
    if "train" not in found:
        raise InputError(f"{found.popitem()[1]} has no {root / 'train'} beside it", LAYOUT)
    val = "validation" if "test" in found else "test"
    return {val if name == "val" else name: path for name, path in found.items()}


def class_folders(root: Path) -> list[str]:
    """Return the names of the classes, sorted as text.

    Raises:
        InputError: A folder without any, or a class folder that has folders in it and no image beside them.
    """
    names = sorted(path.name for path in root.iterdir() if path.is_dir() and not is_litter(path.name))
    if not names:
        raise InputError(f"{root} has no class folders", f"put the images of each class into a folder: {root / 'cat' / '1.png'}")
    for name in names:
        inside = [path for path in (root / name).iterdir() if not is_litter(path.name)]
        if not any(path.name.lower().endswith(IMG_EXTENSIONS) for path in inside) and any(path.is_dir() for path in inside):
            raise InputError(f"{root / name} holds folders and no image, as no class does", LAYOUT)
    return names


def list_images(root: Path, class_names: tuple[str, ...]) -> Samples:
    """Return path and class of each image, class by class, sorted by path; no image is opened. A class may be empty.

    Raises:
        InputError: Class folders with other names, or without any image.
    """
    if other := set(class_folders(root)) ^ set(class_names):
        raise InputError(
            f"{root} and the folder to train on differ in the class {min(other)!r}",
            "give both a folder for each class, an empty one where there is no image",
        )
    paths = [(path, label) for label, name in enumerate(class_names) for path in _files(root / name)]
    samples = [(path, label) for path, label in paths if path.lower().endswith(IMG_EXTENSIONS)]
    if not samples:
        raise InputError(f"no images in the class folders of {root}", f"files end in {ENDINGS}")
    return samples


def is_litter(name: str) -> bool:
    """Return whether a file or folder of this name is hidden, or left by a file manager."""
    return name.startswith(".") or name.lower() in LITTER


def _files(folder: Path) -> list[str]:
    """Return the files in a class folder and its folders, by folder, then by name; what is litter is left out."""
    visited = []
    for path, inside, names in os.walk(folder, followlinks=True):
        inside[:] = [name for name in inside if not is_litter(name)]  # os.walk goes into these
        visited.append((path, names))
    return [str(Path(path) / name) for path, names in sorted(visited) for name in sorted(names) if not is_litter(name)]


def log_skipped(folders: Iterable[Path]) -> None:
    """Log how many files in the class folders of some parts are left out, as their names are not those of images."""
    paths = [path.lower() for folder in folders for name in class_folders(folder) for path in _files(folder / name)]
    skipped = Counter(Path(path).suffix or "no suffix" for path in paths if not path.endswith(IMG_EXTENSIONS))
    if skipped:
        kinds = ", ".join(f"{suffix}: {count}" for suffix, count in sorted(skipped.items()))
        log.warning("%d files in class folders are left out (%s): images end in %s", skipped.total(), kinds, ENDINGS)
