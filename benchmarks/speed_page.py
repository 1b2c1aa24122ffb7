"""The page of ``speed.py``."""

from __future__ import annotations

from typing import Any

import torch
from speed_roofline import Roof, Roofs, works

import sll_zoo
from sll_zoo.models import LipNetConfig
from sll_zoo.reports.words import table

# Name of the part of our network that is measured beside it.
PART = "T"

PAGE = """# How fast, and how large?
`{model}`, {dtype}, in three forms with the same weights, side by side in one process. "Ours" is this package, "folded" its
`fold(model)` for inference. "Formula" is the same network written plainly: T recomputed at every forward, derived by
autograd. "Plain" is a network of the same shapes without rescaling: the limit of what a rescaling can reach. On a CPU ours
and plain have their channels last in float32, the formula has them first, as published code. The limit can be beaten, since
ours goes in place, pools by sums and takes the faster of two products, too. "T" is what ours spends on rescaling, measured by
itself. A training step is forward, cross entropy, backward and fused Adam. The process keeps the memory that it frees, as in
`sll-zoo fit`. Times are medians of n repetitions in turn, in milliseconds; in brackets what the roofline below predicts (of
T, that of the dense layers alone).

## Training step
{training}

## Inference
{inference}

## All sizes
{sizes}

## What a training step of `{model}` at batch 256 spends its time on
{costs}

## Memory of a training of `{model}` at batch 256, in MB
Each in processes of its own, which give freed memory back; medians of 3.

{peaks}

## The same gradients
Relative difference between the gradients of all parameters, ours and the formula's, at batch 64: {float32:.1e} in float32
({worst:.1e} for the parameter where it is largest), {float64:.1e} in float64. What float32 itself takes: from the formula's
gradients in float64, ours in float32 are {ours:.1e} away, the formula's own {formula:.1e}.

## Roofline at batch 64
The machine's measured peak: {flops:,.0f} GFLOP/s in a product of 2048 × 2880 by 2880 × 2048 ({flops_of_t:,.0f} in float32, which
our T is computed in) and {bandwidth:,.1f} GB/s in a copy of 268 MB. A kind of layer takes its operations or its bytes, whichever
is slower.

{roofline}

{environment}, device {device}, commit {commit}, sll_zoo {version}. `benchmarks/speed.py` makes this page, and the JSON beside it.
"""


def page(result: dict[str, Any]) -> str:
    """Return the page as Markdown."""
    config = sll_zoo.create_model(result["model"]).config
    roofs = Roofs(**{name: Roof(**roof) for name, roof in result["roofs"].items()})
    size = getattr(torch, result["dtype"].removeprefix("torch.")).itemsize
    rows = [row for row in result["rows"] if row["model"] == result["model"]]
    return PAGE.format(
        **{key: result[key] for key in ("model", "environment", "device", "commit")},
        dtype=result["dtype"].removeprefix("torch."),
        training=_times(rows, "training", "ours"),
        inference=_times(rows, "inference", "folded"),
        sizes=_sizes(result["rows"]),
        costs=table(
            ["operation", "of the time", "calls"], [[f"`{name}`", f"{part:.1%}", f"{n:,}"] for name, part, n in result["costs"]]
        ),
        peaks=_peaks(result["peaks"]),
        **result["gradients"],
        flops=roofs.images.flops / 1e9,
        flops_of_t=roofs.rescaling.flops / 1e9,
        bandwidth=roofs.images.bandwidth / 1e9,
        roofline=_roofline(config, roofs, size),
        version=sll_zoo.__version__,
    )


def summary(result: dict[str, Any]) -> str:
    """Return the guide's table: times of inference and of training as ratios."""
    of_model = [row for row in result["rows"] if row["model"] == result["model"]]
    rows = {(row["task"], row["batch"], row["name"]): row["seconds"] for row in of_model}
    batches = sorted({row["batch"] for row in of_model})

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
    """Return the table of one task; ``best`` is the network that the others are compared with."""
    cells = {(row["batch"], row["name"]): row for row in rows if row["task"] == task}
    names = list(dict.fromkeys(name for _, name in cells))
    lines = []
    for batch in dict.fromkeys(batch for batch, _ in cells):
        times = [cells[batch, name] for name in names]
        lines.append([f"{batch:,}", *map(_milliseconds, times), *_compared(cells, batch, best), str(times[0]["n"])])
    return table(["batch", *names, *_comparisons(best), "n"], lines)


def _milliseconds(row: dict[str, Any]) -> str:
    """Return the measured milliseconds, and in brackets the predicted ones."""
    return f"{1000 * row['seconds']:,.1f} ({1000 * row['predicted']:,.1f})"


def _comparisons(best: str) -> list[str]:
    return [f"formula / {best}", f"{best} / plain", f"images a second, {best}"]


def _compared(cells: dict[tuple[int, str], dict[str, Any]], batch: int, best: str) -> list[str]:
    ours, formula, plain = (cells[batch, name]["seconds"] for name in (best, "formula", "plain"))
    rate = batch / ours
    return [f"{formula / ours:.2f}", f"{ours / plain:.2f}", f"{rate:,.0f}" if rate > 10 else f"{rate:.1f}"]


def _sizes(rows: list[dict[str, Any]]) -> str:
    """Return the table of the batches that every size was measured at."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    lines = []
    for task, best in (("training", "ours"), ("inference", "folded")):
        for batch in dict.fromkeys(row["batch"] for row in rows if row["model"] == models[-1]):
            for model in models:
                of_task = [row for row in rows if (row["model"], row["task"], row["batch"]) == (model, task, batch)]
                cells = {(batch, row["name"]): row for row in of_task}
                if cells:
                    times = [_milliseconds(cells[batch, name]) for name in (best, "formula", "plain", PART)]
                    if task == "inference":
                        times[-1] = ""  # a folded network has no T to compute
                    lines.append([f"`{model}`", task, f"{batch:,}", *times, *_compared(cells, batch, best), str(of_task[0]["n"])])
    heads = ["model", "task", "batch", "ours, in inference folded", "formula", "plain", "T"]
    return table([*heads, "formula / ours", "ours / plain", "images a second, ours", "n"], lines)


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


def _roofline(config: LipNetConfig, roofs: Roofs, size: int, batch: int = 64) -> str:
    lines = []
    for task, names in (("training", ("ours", "formula", "plain")), ("inference", ("folded", "ours", "formula", "plain"))):
        for name in names:
            for work in works(config, batch, size, name, task):
                roof = roofs.of(work)
                total = [f"{work.count * work.flops / 1e9:,.1f}", f"{work.count * work.bytes / 1e9:,.2f}"]
                bound = "operations" if work.flops / roof.flops > work.bytes / roof.bandwidth else "bytes"
                lines.append([task, name, f"{work.kind} × {work.count}", *total, f"{1000 * roof.seconds(work):,.1f}", bound])
    return table(["task", "network", "layers", "GFLOP", "GB", "ms", "bound by"], lines)
