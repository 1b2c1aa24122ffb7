"""The rows of the zoo's table: networks that were measured here, by their records, and published ones, by published.json."""

from __future__ import annotations

from dataclasses import dataclass

from sll_zoo.reports.words import percent
from sll_zoo.zoo.records.record import Record, read_records
from website.published import Published, published

# Heads of the columns after the name.
COLUMNS = {
    "data": "data set",
    "clean": "clean",
    "certified": "certified",
    "norm": "norm",
    "family": "family",
    "parameters": "parameters",
    "bits": "bits a weight",
    "training": "training",
    "measured": "measured",
    "source": "source",
}


@dataclass(frozen=True)
class Cell:
    """What a column shows, and the value that it is sorted by; None where a source says nothing."""

    text: str
    value: float | str | None


@dataclass(frozen=True)
class Network:
    """A row.

    Attributes:
        name: Its name, that of its page if it has one.
        has_page: Whether it was measured here.
        cells: The columns after the name, but for ``certified``.
        certified: Certified accuracy in words by the radius as the literature writes it.
    """

    name: str
    has_page: bool
    cells: dict[str, Cell]
    certified: dict[str, str]

    @property
    def year(self) -> str:
        """The year of the measurement here; empty where it is not known."""
        before, dash, _ = self.cells["measured"].text.partition("-")
        return before if dash else ""


def networks() -> list[Network]:
    """Return all rows: those of the zoo first."""
    return [*map(_measured, read_records().values()), *map(_published, published())]


def _measured(record: Record) -> Network:
    measured, training = record.measured, record.training
    if measured is None:
        raise ValueError(f"{record.name} is shipped without a measurement")
    seconds = training.seconds_of_all_stages if training else 0.0
    cells = {
        "data": _word(measured.dataset),
        "norm": _word(measured.norm),
        "family": _word(record.family),
        "parameters": Cell(f"{record.parameters:,}", record.parameters),
        "bits": Cell(str(record.bits), record.bits),
        "training": Cell(f"{_time(seconds)}, {training.device}", seconds) if training else Cell("", None),
        "clean": Cell(percent(measured.accuracy.clean), measured.accuracy.clean),
        "measured": _word(measured.date or "here"),
        "source": _word("this zoo"),
    }
    return Network(record.name, True, cells, {row.label: percent(row.accuracy) for row in measured.accuracy.certified})


def _published(row: Published) -> Network:
    more = "trained with generated images" if row.generated_images else ""
    notes = ["" if row.proved else "not proved", more, row.note]
    hours = row.a100_hours
    cells = {
        "data": _word(row.data),
        "norm": _word(row.norm),
        "family": Cell("", None),
        "parameters": _number(row.parameters),
        "bits": Cell("", None),
        "training": Cell(f"{hours:g} h, A100", 3600 * hours) if hours else Cell("", None),
        "clean": Cell("", None) if row.clean is None else Cell(f"{row.clean} %", row.clean / 100),
        "measured": _word("not here"),
        "source": _word("; ".join(filter(None, [row.source, *notes]))),
    }
    return Network(row.network, False, cells, {label: f"{value} %" for label, value in row.certified.items()})


def _word(text: str) -> Cell:
    return Cell(text, text)


def _number(value: int | None) -> Cell:
    return Cell("" if value is None else f"{value:,}", value)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
