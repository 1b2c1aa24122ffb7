"""A hook of MkDocs: the zoo beside published networks, as two pictures and a table, made from records and published.json."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from sll_zoo.reports.words import table
from sll_zoo.zoo.folder import CHECKPOINTS
from sll_zoo.zoo.publishing.results import read_samples
from sll_zoo.zoo.records.record import Record, read_records
from website import navigation
from website.drawing import BLUE, FAINT, GREEN, ORANGE, PURPLE, label, style, svg
from website.published import published

COLOURS = (BLUE, ORANGE, GREEN, PURPLE)
PAGE = "benchmarks/published.md"
CROWD = 4  # more networks with one x are counted in a picture, not named
DATA, RADIUS = "cifar10", "36/255"
TEXT = """# Beside published networks
Certified accuracy at 36/255 on the 10,000 test images of CIFAR-10, in L2. The zoo's are blue, published ones grey; hollow
where the constant comes from a bound from below, which proves nothing, square where images beyond the data set were trained on.

![Certified accuracy against the number of parameters](published-parameters.svg)

![Certified accuracy against the hours of training on one GPU](published-hours.svg)

![Certified accuracy of the zoo's networks against the radius](published-curves.svg)

The curves are those of the zoo's networks, each from the radii of its test images. The zoo's hours are those of an H200,
which is faster than the A100 of the published ones, and was shared but for `sll_small` and `sll_large`. Networks without a
stated number of parameters, or without hours of a GPU, such as those trained on a CPU, are not in that picture; all are in
[the zoo's table](../zoo/index.md).

{tables}
"""


@dataclass(frozen=True)
class Point:
    """A network in a picture: ``x`` is None where it is not known."""

    name: str
    x: float | None
    certified: float
    marker: str
    filled: bool
    ours: bool


def points(of_published: Callable, of_record: Callable) -> list[Point]:
    """Return the networks of CIFAR-10, published and ours, with the x that the two functions give."""
    theirs = [
        Point(one.network, of_published(one), one.certified[RADIUS], "s" if one.generated_images else "o", one.proved, ours=False)
        for one in published()
        if (one.data, one.norm) == (DATA, "L2")
    ]
    return theirs + [
        Point(record.name.partition(".")[0], of_record(record), 100 * row.accuracy, "o", filled=True, ours=True)
        for record in read_records().values()
        if record.measured and (record.measured.dataset, record.measured.norm) == (DATA, "L2")
        for row in record.measured.accuracy.certified
        if row.label == RADIUS
    ]


def _gpu_hours(record: Record) -> float | None:
    training = record.training
    return training.seconds_of_all_stages / 3600 if training and not training.device.startswith("CPU") else None


def scatter(shown: Sequence[Point], xlabel: str) -> Figure:
    """Draw certified accuracy against x, on a logarithmic scale; the name of each network stands beside it."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.add_subplot(xlabel=xlabel, ylabel="certified at 36/255, in %", xscale="log")
    placed = sorted((point for point in shown if point.x is not None), key=lambda point: (point.certified, point.name))
    for point in placed:
        colour = BLUE if point.ours else FAINT
        face = colour if point.filled else "none"
        axes.plot(point.x, point.certified, point.marker, color=colour, markerfacecolor=face, markersize=8 if point.ours else 6)
    axes.set_xmargin(0.25)
    _name(axes, placed)
    return figure


def _name(axes: Axes, placed: Sequence[Point]) -> None:
    """Write names to the right of their points, each above the one before where the two would meet."""
    low, high = axes.get_ylim()
    line = 0.045 * (high - low)
    above: dict[int, float] = {}  # height of the last name in each decade
    together = Counter(point.x for point in placed)
    for x, count in together.items():
        if count > CROWD:
            top = max(point.certified for point in placed if point.x == x)
            label(axes, x or 1, top + line, f"{count} networks", FAINT, ha="center", fontsize=9)
    for point in placed:
        if together[point.x] > CROWD:
            continue
        column = len(f"{point.x:.0f}") if point.x and point.x > 1 else 0
        height = max(point.certified, above.get(column, low) + line)
        above[column] = height
        text = point.name.removesuffix(", layers compared")
        label(axes, 1.15 * (point.x or 1), height, text, BLUE if point.ours else FAINT, va="center", fontsize=9)


def curves() -> Figure:
    """Draw certified accuracy against the radius, of each of the zoo's networks of CIFAR-10."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="radius in L2, pixels of [0, 1]", ylabel="certified, in %", xlim=(0, 1.5))
    names = [
        name
        for name, record in read_records().items()
        if record.measured and record.measured.dataset == DATA and read_samples(CHECKPOINTS / name)
    ]
    for name, colour in zip(names, cycle(COLOURS), strict=False):
        rows = read_samples(CHECKPOINTS / name)
        radii = sorted((row.radius for row in rows if row.label == row.prediction), reverse=True)
        held = [100 * (place + 1) / len(rows) for place in range(len(radii))]
        axes.plot(radii, held, color=colour, linewidth=2, label=name.partition(".")[0])
    axes.set_ylim(0)  # after the curves, which decide how high
    axes.legend(frameon=False)
    return figure


def tables() -> str:
    """Return a table of all published numbers for each data set, the sources among them."""
    sections = []
    for data in dict.fromkeys(one.data for one in published()):
        rows = []
        for one in published():
            if one.data == data:
                certified = ", ".join(f"{value:g} at {radius}" for radius, value in one.certified.items())
                clean = "" if one.clean is None else f"{one.clean:g}"
                rows.append([one.network, one.norm, clean, certified, one.note, one.source])
        sections.append(f"## {data}\n{table(['network', 'norm', 'clean', 'certified, in %', 'note', 'source'], rows)}")
    return "\n\n".join(sections)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the page into the navigation."""
    navigation.extend(config, "Benchmarks", [PAGE])
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page and its pictures."""
    hours = points(lambda one: one.a100_hours, _gpu_hours)
    sizes = points(lambda one: one.parameters and one.parameters / 1e6, lambda record: record.parameters / 1e6)
    with style():
        drawn = {
            "parameters": svg(scatter(sizes, "parameters in millions"), "Certified accuracy against parameters"),
            "curves": svg(curves(), "Certified accuracy of the zoo's networks of CIFAR-10 against the radius"),
            "hours": svg(scatter(hours, "hours of one GPU"), "Certified accuracy against hours of training"),
        }
    for name, text in drawn.items():
        files.append(File.generated(config, f"benchmarks/published-{name}.svg", content=text))
    files.append(File.generated(config, PAGE, content=TEXT.format(tables=tables())))
    return files
