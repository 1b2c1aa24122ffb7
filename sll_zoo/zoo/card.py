"""Prose with numbers in it: model cards and tables, generated from the records."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, StrictUndefined

from sll_zoo.files import rewrite_between
from sll_zoo.zoo.measured import Accuracies, Measurement
from sll_zoo.zoo.record import Record, read_records
from sll_zoo.zoo.shards import weights_files

BEGIN, END = "<!-- table: generated from the records -->", "<!-- end of table -->"
TEMPLATE = Path(__file__).with_name("card.md.jinja")
CARD_FILE = "README.md"
CURVE_FILE = "curve.png"
TRAINING_FILE = "training.yaml"

# Data sets as the Hub names them, for the card's metadata.
HUB_DATASETS = {"cifar10": "uoft-cs/cifar10", "cifar100": "uoft-cs/cifar100", "tiny_imagenet": "zh-plus/tiny-imagenet"}
# What a reader would otherwise take for something else.
NOTES = {
    "cifar10-jpeg": "They are JPEG-compressed copies of CIFAR-10's images, not CIFAR-10: numbers on the two cannot be compared.",
    "digits": "They are scikit-learn's 8 × 8 handwritten digits.",
}


def render_card(record: Record, config: dict[str, Any], load_name: str, files: list[str]) -> str:
    """Return a model's README.md.

    Args:
        record: Of the weights.
        config: The model's config.json.
        load_name: What ``create_model`` loads it by.
        files: The names of the files beside the card.
    """
    measured, training = record.measured, record.training
    channels, height, width = config["pretrained_cfg"]["input_size"]
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - Markdown
    return (
        environment.from_string(TEMPLATE.read_text("utf-8")).render(
            record=record,
            measured=measured,
            training=training,
            origin=record.origin,
            load_name=load_name,
            num_classes=config["num_classes"],
            shape=f"{channels} × {height} × {width}",
            shape_arguments=f"{channels}, {height}, {width}",
            metadata=_metadata(record),
            n=f"{measured.n:,}" if measured else "",
            note=NOTES.get(measured.dataset, "") if measured else "",
            table=_card_table(record.name, measured) if measured else "",
            mean_radius=_radius(measured.accuracy.mean_radius) if measured else "",
            picture=CURVE_FILE if CURVE_FILE in files else "",
            has_config=TRAINING_FILE in files,
            duration=_duration(training.seconds) if training else "",
            rate=f"{training.images / training.seconds:,.0f}" if training and training.images else "",
            versions=", ".join(f"{package} {number}" for package, number in training.versions.items()) if training else "",
            files=", ".join(weights_files(record)) + (", one after another" if record.files > 1 else ""),
            size=file_in_words(record),
        )
        + "\n"
    )


def _metadata(record: Record) -> str:
    """Return the YAML that the Hub reads: what the model is, and its accuracies with norm, ε and n."""
    measured = record.measured
    hub_dataset = HUB_DATASETS.get(measured.dataset) if measured else None
    data = ModelCardData(
        library_name="timm",
        license=record.license,
        pipeline_tag="image-classification",
        tags=["timm", "sll_zoo", "certified-robustness", "lipschitz", "image-classification"],
        datasets=[hub_dataset] if hub_dataset else None,
        metrics=["accuracy"] if measured else None,
        model_name=record.name if measured else None,
        eval_results=_eval_results(measured) if measured else None,
    )
    return str(data.to_yaml())


def _eval_results(measured: Measurement) -> list[EvalResult]:
    about: dict[str, Any] = {
        "task_type": "image-classification",
        "dataset_type": HUB_DATASETS.get(measured.dataset, measured.dataset),
        "dataset_name": measured.dataset,
        "dataset_split": "test",
    }
    results = [EvalResult(**about, metric_type="accuracy", metric_name="Clean accuracy", metric_value=measured.accuracy.clean)]
    rows = [("certified", "Lipschitz margin", measured.n, row) for row in measured.accuracy.certified]
    rows += [("empirical", attacked.method, attacked.n, row) for attacked in measured.empirical for row in attacked.accuracy]
    for kind, method, n, row in rows:
        results.append(
            EvalResult(
                **about,
                metric_type=f"{kind}_accuracy",
                metric_name=f"{kind.capitalize()} accuracy (L2, eps={row.label})",
                metric_value=row.accuracy,
                metric_args={"norm": measured.norm, "eps": row.eps, "n": n, "method": method},
            )
        )
    return results


def _card_table(name: str, measured: Measurement) -> str:
    """Return ε against certified and empirical accuracy, the mean over seeds, and the baseline's, a line for each ε."""
    own = _by_radius(measured.accuracy)
    columns = {f"{name}, certified": {eps: percent(value) for eps, value in own.items()}}
    if measured.repeats:
        seeds = [own, *map(_by_radius, measured.repeats)]
        columns[f"mean of {len(seeds)} seeds ± standard deviation"] = {eps: _spread([one[eps] for one in seeds]) for eps in own}
    for attacked in measured.empirical:
        head = f"empirical, {attacked.n:,} images under {attacked.method}"
        columns[head] = {row.eps: percent(row.accuracy) for row in attacked.accuracy}
    if measured.baseline:
        baseline = _by_radius(measured.baseline)
        columns["nearest-neighbour margin, certified"] = {eps: percent(value) for eps, value in baseline.items()}
    labels = {0.0: "0 (clean)"} | {row.eps: row.label for row in measured.accuracy.certified}
    return table(
        ["ε", *columns], [[label, *(column.get(eps, "") for column in columns.values())] for eps, label in labels.items()]
    )


def _by_radius(accuracy: Accuracies) -> dict[float, float]:
    return {0.0: accuracy.clean} | {row.eps: row.accuracy for row in accuracy.certified}


def _spread(fractions: list[float]) -> str:
    return f"{100 * mean(fractions):.2f} ± {100 * stdev(fractions):.2f} %"


def render_models(records: dict[str, Record]) -> str:
    """Return the table of all shipped weights."""
    rows = []
    for record in records.values():
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
    labels = next((r.measured.accuracy.certified for r in records.values() if r.measured), ())
    lead = ["model", "parameters", "file", "data set", "images", "clean"]
    return table([*lead, *(f"certified at {row.label}" for row in labels)], rows)


def describe(record: Record) -> str:
    """Return a record in one line."""
    parameters = f"{record.parameters:,} parameters"
    if not (measured := record.measured):
        return f"{parameters}; nothing measured"
    certified = ", ".join(f"{percent(row.accuracy)} at {row.label}" for row in measured.accuracy.certified)
    images = f"{measured.n:,} images of {measured.dataset}"
    return f"{parameters}; {images}: {percent(measured.accuracy.clean)} clean; certified {certified}"


def refresh_tables(root: Path) -> None:
    """Rewrite the table of models in the README files of a checkout, between its two marks."""
    for path in (root / "README.md", root / "checkpoints" / "README.md"):
        rewrite_between(path, BEGIN, END, render_models(read_records()))


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


def file_in_words(record: Record) -> str:
    """Return the size of a file of weights, and how it is packed if it is."""
    return size_in_words(record.size) + (f", {record.bits} bits a weight" if record.bits < 32 else "")


def _radius(radius: float | None) -> str:
    return "infinite" if radius is None else f"{radius:.4f}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else str(timedelta(seconds=round(seconds)))
