"""Model cards and tables, generated from the records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from jinja2 import Environment, StrictUndefined

from sll_zoo.files import rewrite_between
from sll_zoo.functional.norms import norm_label
from sll_zoo.reports.words import percent, size_in_words, table
from sll_zoo.zoo.records.citations import citations
from sll_zoo.zoo.records.metadata import render_metadata
from sll_zoo.zoo.records.record import Accuracies, Attacked, GrowthStage, Measurement, Record, read_records
from sll_zoo.zoo.weights.shards import weights_files

BEGIN, END = "<!-- table: generated from the records -->", "<!-- end of table -->"
TEMPLATE = Path(__file__).with_name("card.md.jinja")
CARD_FILE = "README.md"
CURVE_FILE = "curve.png"
TRAINING_FILE = "training.yaml"

# Notes on data sets that a reader could take for another one.
NOTES = {
    "digits": "They are scikit-learn's 8 × 8 handwritten digits.",
    "digits_by_pixel": "They are scikit-learn's 8 × 8 handwritten digits, read pixel by pixel: sequences of 64 steps.",
    "gtsrb-subset": "They come from a part of the German Traffic Sign Recognition Benchmark, not from all of its images: numbers "
    "on the two cannot be compared.",
}


def render_card(record: Record, config: dict[str, Any], load_name: str, files: list[str]) -> str:
    """Return a model's README.md.

    Args:
        record: The record of the weights.
        config: The model's config.json; without ``norm``, as older ones are, it is about a network in L2.
        load_name: The name by which ``create_model`` loads the model.
        files: The names of the files beside the card.
    """
    measured, training = record.measured, record.training
    channels, height, width = config["pretrained_cfg"]["input_size"]
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - Markdown
    return (
        environment.from_string(TEMPLATE.read_text("utf-8")).render(
            record=record,
            norm=norm_label(config.get("norm", "2")),
            measured=measured,
            training=training,
            origin=record.origin,
            load_name=load_name,
            num_classes=config["num_classes"],
            shape=f"{channels} × {height} × {width}",
            shape_arguments=f"{channels}, {height}, {width}",
            metadata=render_metadata(record),
            n=f"{measured.n:,}" if measured else "",
            note=_note(measured.dataset) if measured else "",
            table=_card_table(record.name, measured) if measured else "",
            attacks=[(_attacked(measured, one), _attack_table(one), one) for one in measured.empirical] if measured else [],
            mean_radius=_radius(measured.accuracy.mean_radius) if measured else "",
            picture=CURVE_FILE if CURVE_FILE in files else "",
            has_config=TRAINING_FILE in files,
            citations=citations(config["pretrained_cfg"].get("paper_ids") or ""),
            duration=_duration(training.seconds) if training else "",
            each=f"{training.images // training.epochs:,}" if training and training.images and training.epochs else "",
            rate=f"{training.images / training.seconds:,.0f}" if training and training.images else "",
            stages=_stages(training.stages) if training else "",
            versions=", ".join(f"{package} {number}" for package, number in training.versions.items()) if training else "",
            files=", ".join(weights_files(record)) + (", one after another" if record.files > 1 else ""),
            size=file_in_words(record),
        )
        + "\n"
    )


def _note(dataset: str) -> str:
    """Return the note on a data set, whose name may end in its number of images."""
    return NOTES.get(re.sub(r"-\d+$", "", dataset), "")


def _card_table(name: str, measured: Measurement) -> str:
    """Return a table with a line for each ε: certified accuracy, its mean over seeds, and that of the baseline."""
    own = _by_radius(measured.accuracy)
    columns = {f"{name}, certified": {eps: percent(value) for eps, value in own.items()}}
    if measured.repeats:
        seeds = [own, *map(_by_radius, measured.repeats)]
        columns[f"mean of {len(seeds)} seeds ± standard deviation"] = {eps: _spread([one[eps] for one in seeds]) for eps in own}
    if measured.baseline:
        baseline = _by_radius(measured.baseline)
        columns["nearest-neighbour margin, certified"] = {eps: percent(value) for eps, value in baseline.items()}
    labels = {0.0: "0 (clean)"} | {row.eps: row.label for row in measured.accuracy.certified}
    return table(
        ["ε", *columns], [[label, *(column.get(eps, "") for column in columns.values())] for eps, label in labels.items()]
    )


def _attacked(measured: Measurement, attacked: Attacked) -> str:
    """Return which of the images were attacked, in words."""
    n = f"{attacked.n:,}"
    return f"all {n} images" if attacked.n == measured.n else f"{n} of the {measured.n:,} images, evenly spaced"


def _attack_table(attacked: Attacked) -> str:
    """Return a table with a line for each ε: certified and empirical accuracy of the attacked images."""
    if attacked.clean is None or attacked.certified is None:
        return table(["ε", "empirical"], [[row.label, percent(row.accuracy)] for row in attacked.accuracy])
    rows = [["0 (clean)", percent(attacked.clean), percent(attacked.clean)]]
    for proved, left in zip(attacked.certified, attacked.accuracy, strict=True):
        rows.append([proved.label, percent(proved.accuracy), percent(left.accuracy)])
    return table(["ε", "certified", "empirical"], rows)


def _by_radius(accuracy: Accuracies) -> dict[float, float]:
    return {0.0: accuracy.clean} | {row.eps: row.accuracy for row in accuracy.certified}


def _spread(fractions: list[float]) -> str:
    return f"{100 * mean(fractions):.2f} ± {100 * stdev(fractions):.2f} %"


def render_models(records: dict[str, Record]) -> str:
    """Return the table of all shipped weights, one for each norm."""
    measured = [record for record in records.values() if record.measured]
    norms = dict.fromkeys(record.measured.norm for record in measured if record.measured)
    tables = {norm: _models_in(norm, measured) for norm in sorted(norms)}
    return "\n\n".join(text if norm == "L2" else f"In {norm}:\n\n{text}" for norm, text in tables.items())


def _models_in(norm: str, records: list[Record]) -> str:
    """Return the table of the weights that were measured in a norm."""
    records = [record for record in records if record.measured and record.measured.norm == norm]
    rows = []
    for record in records:
        if measured := record.measured:
            certified = [percent(row.accuracy) for row in measured.accuracy.certified]
            about = [
                f"`{record.name}`",
                f"{record.parameters:,}",
                file_in_words(record),
                measured.dataset,
                f"{measured.n:,}",
            ]
            rows.append([*about, percent(measured.accuracy.clean), *certified])
    labels = next((r.measured.accuracy.certified for r in records if r.measured), ())
    lead = ["model", "parameters", "file", "data set", "images", "clean"]
    return table([*lead, *(f"certified at {row.label}" for row in labels)], rows)


def describe(record: Record) -> str:
    """Return a record in one line."""
    parameters = f"{record.parameters:,} parameters"
    if not (measured := record.measured):
        return f"{parameters}; nothing measured"
    certified = ", ".join(f"{percent(row.accuracy)} at {row.label}" for row in measured.accuracy.certified)
    certified = f"certified in {measured.norm} {certified}"
    images = f"{measured.n:,} images of {measured.dataset}"
    return f"{parameters}; {images}: {percent(measured.accuracy.clean)} clean; {certified}"


def refresh_tables(root: Path) -> None:
    """Rewrite the table of models in the README files of a checkout, between its two marks."""
    for path in (root / "README.md", root / "checkpoints" / "README.md"):
        rewrite_between(path, BEGIN, END, render_models(read_records()))


def file_in_words(record: Record) -> str:
    """Return the size of the weights' files in words, with the bits of a weight if they are packed."""
    return size_in_words(record.size) + (f", {record.bits} bits a weight" if record.bits < 32 else "")


def _stages(stages: Sequence[GrowthStage]) -> str:
    rows = [[stage.network, f"{stage.parameters:,}", str(stage.epochs), _duration(stage.seconds)] for stage in stages]
    return table(["network", "parameters", "epochs", "time"], rows)


def _radius(radius: float | None) -> str:
    return "infinite" if radius is None else f"{radius:.4f}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else str(timedelta(seconds=round(seconds)))
