"""The style of the site's pictures: SVG without a background, whose text is dark on a light page and light on a dark one."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Stand-ins that matplotlib writes into the file, for colours that the page decides.
INK, FAINT = "#010203", "#040506"
INKS = {INK: ("ink", "#1f2328", "#e6e8ee"), FAINT: ("faint", "#6b7280", "#9aa3b2")}
BLUE, ORANGE, GREEN, PURPLE = "#4c7be0", "#d9822b", "#2e9e6b", "#a06cd5"  # seen on both
STYLE = {
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.hashsalt": "sll_zoo",
}


@contextmanager
def style() -> Iterator[None]:
    """Give the figures that are made inside this style."""
    with rc_context(STYLE):
        yield


def label(axes: Axes, x: float, y: float, text: str, colour: str = INK, **options: object) -> None:
    """Write a short text into a picture, at a point of the data."""
    axes.text(x, y, text, color=colour, parse_math=False, **options)  # type: ignore[arg-type]


def svg(figure: Figure, title: str) -> str:
    """Return a figure as SVG with a title for those who do not see it, in colours that follow the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Title": title})
    text = buffer.getvalue()
    light = "".join(f"--{name}:{day};" for name, day, _ in INKS.values())
    dark = "".join(f"--{name}:{night};" for name, _, night in INKS.values())
    for colour, (name, _, _) in INKS.items():
        text = text.replace(f": {colour}", f": var(--{name})")
    rules = f"<style>:root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}</style>"
    return re.sub(r"(<svg [^>]*>)", rf"\1\n {rules}", text, count=1)
