"""Pages that are made at build time, in the navigation of mkdocs.yml."""

from collections.abc import Sequence
from typing import Any

from mkdocs.config.defaults import MkDocsConfig


def extend(config: MkDocsConfig, section: str, pages: Sequence[Any]) -> None:
    """Append pages, written as in ``nav`` of mkdocs.yml, to a section that stands there.

    Raises:
        KeyError: mkdocs.yml has no such section.
    """
    for entry in config.nav or []:
        if section in entry:
            entry[section].extend(pages)
            return
    raise KeyError(section)
