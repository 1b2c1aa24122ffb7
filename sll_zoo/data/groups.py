"""Groups of images that show one thing: frames of a video, pictures of a patient, views of one traffic sign.

A network that was trained on one image of a group knows the others: they are tested on only if none of them was trained on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sll_zoo.data.tables import read_rows
from sll_zoo.errors import ConfigError, InputError

REMEDY = "the first line is file,group; then each image once, its path from the root, and the name of its group"


def never_divided(group: str) -> str:
    """Return what is said of images in groups: a clause, as data modules have it in ``division``.

    Example:
        >>> never_divided("sign")
        'images of one sign are never divided among train, validation and test'
    """
    return f"images of one {group} are never divided among train, validation and test"


def is_table(groups: str) -> bool:
    """Return whether groups are the name of a CSV file, not a pattern."""
    return groups.lower().endswith(".csv")


def groups_of(images: Sequence[str], folder: Path, root: Path, groups: str | Path) -> list[str]:
    """Return the group of each image.

    Args:
        images: Paths of the images.
        folder: Folder that holds the class folders of these images.
        root: ``folder``, or what it is a part of.
        groups: A CSV file with paths from ``root``; or, as text, a regular expression, and the group is what it finds in an
            image's path from ``folder``: of ``cat/0007_3.png``, ``[^_]*`` finds ``cat/0007`` and ``(?<=/)[^_]*`` finds ``0007``.

    Raises:
        ConfigError: No regular expression.
        InputError: An image without a group, a CSV file that is missing or damaged, or that names an image twice.
    """
    if isinstance(groups, Path):
        return _listed(groups, [Path(image).relative_to(root).as_posix() for image in images])
    return _found(groups, [Path(image).relative_to(folder).as_posix() for image in images])


def require_apart(groups_of_parts: Mapping[str, Sequence[str]]) -> None:
    """Raise InputError for a group with images in two parts."""
    part_of: dict[str, str] = {}
    for part, groups in groups_of_parts.items():
        for group in sorted(set(groups)):
            if part_of.setdefault(group, part) != part:
                raise InputError(f"the group {group!r} is in {part_of[group]} and in {part}", "move its images to one of them")


def _found(pattern: str, names: Sequence[str]) -> list[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"groups={pattern!r} is no regular expression ({error})", "give one, or the name of a .csv file"
        ) from error
    matches = [compiled.search(name) for name in names]
    found = [match[0] if match else "" for match in matches]
    if "" in found:
        raise InputError(
            f"groups={pattern!r} finds nothing in {names[found.index('')]}", "give a pattern that finds the group of each image"
        )
    return found


def _listed(path: Path, names: Sequence[str]) -> list[str]:
    """Return the group of each image that a CSV file lists."""
    rows = read_rows(path, REMEDY)
    if not rows or rows[0] != ["file", "group"] or any(len(row) != 2 or not all(row) for row in rows):
        wrong = next((place for place, row in enumerate(rows) if len(row) != 2 or not all(row)), 0)
        raise InputError(f"line {wrong + 1} of {path} is {','.join(rows[wrong]) if rows else ''!r}", REMEDY)
    listed: dict[str, str] = {}
    for name, group in rows[1:]:
        if name in listed:
            raise InputError(f"{path} names {name} twice", REMEDY)
        listed[name] = group
    if without := [name for name in names if name not in listed]:
        raise InputError(f"{path} has no group for {without[0]}", REMEDY)
    return [listed[name] for name in names]
