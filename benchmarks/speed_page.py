"""The page of ``speed.py``."""

from __future__ import annotations

from typing import Any

from speed_roofline import Roof, works

import sll_zoo
from sll_zoo.models import LipNetConfig
from sll_zoo.zoo.card import table

PAGE = """# How fast, and how large?
`{model}`, {dtype}, in three forms with the same weights, side by side in one process. "Ours" is this package, "folded" its
`fold(model)` for inference. "Formula" is the same network written plainly: T recomputed at every forward, derived by autograd.
"Plain" is a network of the same shapes without rescaling, the limit of what a rescaling can reach; it can be beaten, since ours
is executed in another way, too. A training step is forward, cross entropy, backward and fused Adam. Times are medians of n
repetitions in turn, in milliseconds; behind each, in brackets, what the roofline below predicts.

## Training step
{training}

## Inference
{inference}

## Memory of a training at batch 256, in MB
{peaks}

## The same gradients
Largest relative difference between the gradients of a parameter, ours and the formula's, at batch 8: {float32:.0e} in float32,
{float64:.0e} in float64. In float32 an argument of relu whose sign rounding decides can have another sign than in the formula, as
it can in the formula itself on another machine; the difference is then near 1e-3.

## Roofline at batch 64
The machine's measured peak: {flops:.0f} GFLOP/s in a product of 2048 × 2880 by 2880 × 2048 and {bandwidth:.1f} GB/s in a copy of
268 MB. A kind of layer takes its operations or its bytes, whichever is slower.

{roofline}

{environment}, device {device}, commit {commit}, sll_zoo {version}. `benchmarks/speed.py` makes this page, and the JSON beside it.
"""


def page(result: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    config, roof = sll_zoo.create_model(result["model"]).config, Roof(**result["roof"])
    return PAGE.format(
        **{key: result[key] for key in ("model", "environment", "device", "commit")},
        dtype=result["dtype"].removeprefix("torch."),
        training=_times(result["rows"], "training", "ours"),
        inference=_times(result["rows"], "inference", "folded"),
        peaks=_peaks(result["peaks"]),
        **result["gradients"],
        flops=roof.flops / 1e9,
        bandwidth=roof.bandwidth / 1e9,
        roofline=_roofline(config, roof),
        version=sll_zoo.__version__,
    )


def summary(result: dict[str, Any]) -> str:
    """Return the README's table: times of inference and of training as ratios."""
    rows = {(row["task"], row["batch"], row["name"]): row["seconds"] for row in result["rows"]}
    batches = sorted({row["batch"] for row in result["rows"]})

    def line(title: str, task: str, over: str, under: str) -> list[str]:
        return [title, *(f"{rows[task, batch, over] / rows[task, batch, under]:.2f}" for batch in batches)]

    lines = [
        line("inference: formula / ours, folded", "inference", "formula", "folded"),
        line("inference: ours, folded / plain network", "inference", "folded", "plain"),
        line("training step: formula / ours", "training", "formula", "ours"),
        line("training step: ours / plain network", "training", "ours", "plain"),
    ]
    return table([f"`{result['model']}`, ratio of times", *(f"batch {batch:,}" for batch in batches)], lines)


def _times(rows: list[dict[str, Any]], task: str, best: str) -> str:
    """Return the table of one task; ``best`` is what is compared with the others."""
    cells = {(row["batch"], row["name"]): row for row in rows if row["task"] == task}
    names = list(dict.fromkeys(name for _, name in cells))
    lines = []
    for batch in dict.fromkeys(batch for batch, _ in cells):
        times = [cells[batch, name] for name in names]
        ours, formula, plain = (cells[batch, name]["seconds"] for name in (best, "formula", "plain"))
        shown = [f"{1000 * row['seconds']:,.1f} ({1000 * row['predicted']:,.1f})" for row in times]
        lines.append([f"{batch:,}", *shown, f"{formula / ours:.2f}", f"{ours / plain:.2f}", str(times[0]["n"])])
    return table(["batch", *names, f"formula / {best}", f"{best} / plain", "n"], lines)


def _peaks(peaks: dict[str, list[float]]) -> str:
    before, most = ({name: pair[index] for name, pair in peaks.items()} for index in (0, 1))
    lines = [
        [name, f"{most[name]:,.0f}", f"{most[name] - before[name]:,.0f}", f"{most[name] / most['formula']:.2f}",
         f"{(most[name] - before[name]) / (most['formula'] - before['formula']):.2f}"]
        for name in peaks
    ]  # fmt: skip
    return table(
        ["", "process at its peak", "of that not there before the network", "peak / formula", "not there before / formula"], lines
    )


def _roofline(config: LipNetConfig, roof: Roof, batch: int = 64) -> str:
    lines = []
    for task, names in (("training", ("ours", "formula", "plain")), ("inference", ("folded", "ours", "formula", "plain"))):
        for name in names:
            for work in works(config, batch, 4, name, task):
                total = [f"{work.count * work.flops / 1e9:,.1f}", f"{work.count * work.bytes / 1e9:,.2f}"]
                bound = "operations" if work.flops / roof.flops > work.bytes / roof.bandwidth else "bytes"
                lines.append([task, name, f"{work.kind} × {work.count}", *total, f"{1000 * roof.seconds(work):,.1f}", bound])
    return table(["task", "network", "layers", "GFLOP", "GB", "ms", "bound by"], lines)
