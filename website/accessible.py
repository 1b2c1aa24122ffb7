"""A hook of MkDocs: what the theme leaves to be desired for readers who use a screen reader."""

import re
from typing import Any

EMPTY_HEAD = re.compile(r"<th( style=\"[^\"]*\")?></th>")


def on_post_page(output: str, **_: Any) -> str:
    """Name the dialog of the search, and make the empty heads of tables plain cells, since they are heads of nothing."""
    output = EMPTY_HEAD.sub(r"<td\1></td>", output)
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )
