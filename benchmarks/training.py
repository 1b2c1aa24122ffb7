"""Accuracy that two cores reach in one training: the page of a training that was done by the command line.

Run, with JPEG copies of CIFAR-10 in data/cifar10-jpeg: .venv/bin/sll-zoo fit --config configs/cifar10_jpeg/sll_tiny.yaml
then: .venv/bin/python benchmarks/training.py outputs/lightning_logs/version_N/metrics.csv (writes training.md and training.png)
"""

import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt
from record import HERE, environment, write_page

from sll_zoo.files import atomic_write
from sll_zoo.reports.words import percent, table
from sll_zoo.zoo.records.record import read_records

PAGE = """# {minutes:.0f} minutes on two cores
`configs/cifar10_jpeg/sll_tiny.yaml`: {parameters:.1f} million parameters, {epochs} epochs of 45,000 training images in
{minutes:.0f} minutes, {rate:.0f} images a second with validation and all else, in bfloat16. Accuracies on the 5,000 validation
images as the training saw them, L2, ε in pixels of [0, 1]. On the 10,000 test images, in float64, the saved network, its
weights packed in {bits} bits each, has {clean} clean and {certified} certified at 36/255. These are JPEG copies of CIFAR-10's
images, not CIFAR-10: numbers on the two cannot be compared.

![Accuracies after each epoch](training.png)

{table}

{environment}. `benchmarks/training.py` makes this page.
"""
MODEL = "sll_tiny.cifar10_jpeg"
SHOWN = {"val/acc": "clean"} | {f"val/certified_acc_{level}": f"certified at {level}/255" for level in (36, 72, 108, 255)}


def read_history(path: Path) -> list[dict[str, float]]:
    """Return the accuracies after each epoch."""
    with path.open() as file:
        return [{name: float(row[name]) for name in SHOWN} for row in csv.DictReader(file) if row["val/acc"]]


def draw(history: list[dict[str, float]], path: Path) -> None:
    """Draw each accuracy against the number of epochs."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for name, title in SHOWN.items():
        axes.plot(range(1, len(history) + 1), [100 * row[name] for row in history], marker="o", markersize=3, label=title)
    axes.set(xlabel="epochs", ylabel="% of the validation images", ylim=(0, None), title="sll_tiny on cifar10-jpeg")
    figure.legend(loc="outside right upper")
    axes.grid(alpha=0.3)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def main() -> None:
    """Write page and picture."""
    history, record = read_history(Path(sys.argv[1])), read_records()[MODEL]
    seconds, reached = record.training.seconds, record.measured.accuracy
    draw(history, HERE / "training.png")
    shown = [(number, row) for number, row in enumerate(history, 1) if number % 3 == 0 or number in (1, 2, len(history))]
    rows = [[str(number), *map(percent, row.values())] for number, row in shown]
    page = PAGE.format(
        parameters=record.parameters / 1e6,
        epochs=len(history),
        minutes=seconds / 60,
        rate=len(history) * 45_000 / seconds,
        bits=record.bits,
        clean=percent(reached.clean),
        certified=percent(reached.certified[0].accuracy),
        table=table(["epochs", *SHOWN.values()], rows),
        environment=environment(),
    )
    write_page("training.md", page)


if __name__ == "__main__":
    main()
