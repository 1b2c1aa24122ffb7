"""Numbers and tables as they are printed."""

from __future__ import annotations


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def percent(fraction: float) -> str:
    """Return a fraction as it is printed: ``97.25 %`` for 0.9725."""
    return f"{100 * fraction:.2f} %"


def size_in_words(size: int) -> str:
    """Return a number of bytes as it is printed.

    Example:
        >>> size_in_words(829_000), size_in_words(41_400_000)
        ('829 kB', '41.4 MB')
    """
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
