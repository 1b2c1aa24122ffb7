"""Prose with numbers in it: model cards and tables, generated from the records."""

from __future__ import annotations

import re
from pathlib import Path

from sll_zoo.files import written_whole
from sll_zoo.zoo.record import Measurement, Record, read_records

BEGIN, END = "<!-- table: generated from the records -->", "<!-- end of table -->"

CARD = """---
library_name: timm
license: apache-2.0
pipeline_tag: image-classification
tags: [timm, sll_zoo, certified-robustness, lipschitz, image-classification]
---
# {name}

An image classifier on 1-Lipschitz features (family `{family}`, {parameters:,} parameters), trained on {dataset}. For each image
it gives a class and an L2 radius, in pixels of [0, 1], within which that class is proved not to change.

## Use
```python
import sll_zoo  # registers the model with timm

model = sll_zoo.create_model("{name}", pretrained=True).eval()
certificate = sll_zoo.certify(model, images)  # images: (batch, channels, height, width) in [0, 1], not normalised
certificate.prediction, certificate.radius
```

## Measured
{n} held-out images of {dataset}, certified in float64.

{table}

Certified accuracy at ε: the fraction of images classified correctly at every point of the L2 ball of radius ε around them.
{baseline_note}
## What the certificate says
That no perturbation shorter than the radius, of any kind, changes the class: a statement about all of them, not about the
attacks that were tried. It holds in exact arithmetic on the stored weights. It says nothing of larger perturbations, of other
norms, or of whether the class is right.

## Training
`sll-zoo fit --config {config}`: seed {seed}, {epochs} epochs, {seconds:.0f} s on {device}, with {versions}.

sha256 of model.safetensors: `{sha256}`

## Source
Araujo, Havens, Delattre, Allauzen, Hu: A Unified Algebraic Perspective on Lipschitz Neural Networks, ICLR 2023,
[arXiv 2303.03169](https://arxiv.org/abs/2303.03169).
"""

BASELINE_NOTE = """
The nearest-neighbour margin classifier needs no training: logit c is minus the distance to the nearest training image of class c,
which is 1-Lipschitz, and the same certificate applies.
"""


def render_card(name: str, record: Record) -> str:
    """Return a model's README.md; ``name`` is what ``create_model`` loads it by."""
    rows = {name: record.measured, "nearest-neighbour margin": record.baseline}
    return CARD.format(
        name=name,
        parameters=record.parameters,
        family=record.family,
        dataset=record.dataset,
        n=record.n,
        table=_table(["classifier"], [([title], measured) for title, measured in rows.items() if measured]),
        baseline_note=BASELINE_NOTE if record.baseline else "",
        versions=", ".join(f"{package} {version}" for package, version in record.versions.items()),
        device=record.device,
        sha256=record.sha256,
        **record.training,
    )


def render_models(records: dict[str, Record]) -> str:
    """Return the table of all shipped weights."""
    lead = ["model", "parameters", "data set", "images"]
    rows = [
        ([f"`{name}`", f"{record.parameters:,}", record.dataset, str(record.n)], record.measured)
        for name, record in records.items()
    ]
    return _table(lead, rows)


def describe(record: Record) -> str:
    """Return a record in one line."""
    certified = ", ".join(f"{percent(accuracy)} at {label}" for label, accuracy in record.measured.certified.items())
    images = f"{record.n} images of {record.dataset}"
    return f"{record.parameters:,} parameters; {images}: {percent(record.measured.clean)} clean; certified {certified}"


def refresh_tables(root: Path) -> None:
    """Rewrite the table of models in the README files of a checkout, between its two marks."""
    table = render_models(read_records())
    for path in (root / "README.md", root / "checkpoints" / "README.md"):
        text = path.read_text("utf-8")
        between = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
        with written_whole(path) as temporary:
            temporary.write_text(between.sub(lambda _: f"{BEGIN}\n{table}\n{END}", text), "utf-8")


def _table(lead: list[str], rows: list[tuple[list[str], Measurement]]) -> str:
    labels = list(rows[0][1].certified) if rows else []
    lines = [[*lead, "clean", *(f"certified at {label}" for label in labels)]]
    lines.append(["---"] * len(lines[0]))
    for cells, measured in rows:
        lines.append([*cells, percent(measured.clean), *(percent(measured.certified[label]) for label in labels)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def percent(fraction: float) -> str:
    """Return a fraction as it is printed: ``97.25 %`` for 0.9725."""
    return f"{100 * fraction:.2f} %"
