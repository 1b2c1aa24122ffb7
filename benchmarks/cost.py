"""How time and memory of a training step, a certificate and an audit grow, and what the largest runs would take, on paper.

Run on an idle machine, about fifteen minutes: .venv/bin/python benchmarks/cost.py; writes cost.md and cost.png. Linux only.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import matplotlib.pyplot as plt
import torch
from operations import Operations
from record import HERE, environment, resident_peak, write_page
from speed_roofline import Roof, Roofs, measured_roof, works
from timing import in_turn, stepping

import sll_zoo
from sll_zoo import audit
from sll_zoo.certificates.certification import certificate_of
from sll_zoo.files import atomic_write
from sll_zoo.models import LipNet, LipNetConfig
from sll_zoo.reports.words import percent, table

BASE = {"width": 32, "conv_layers": 4, "conv_inner": 16, "dense_layers": 2, "dense_inner": 256, "img_size": 32, "num_classes": 10}
# What grows, by a factor each time.
AXES = {
    "width": (16, 32, 64, 128),
    "conv_layers": (2, 4, 8, 16),
    "img_size": (16, 32, 64, 128),
    "num_classes": (10, 100, 1000, 10_000),
}
BATCH, REPEATS, PAPER_BATCH = 32, 3, 64
PAGE = """# How cost grows
A small network, {base},
of which one number grows at a time. Seconds, of one thread, of a training step (float32) and of a certificate (float64, folded
network), both of {batch} images, and of an audit; medians of {repeats} after a first call. Memory is the most that the process
had beyond what it had before. Time is predicted to grow as the operations of matrix products and convolutions that PyTorch counts
in a call in float64; for an audit with n³/3 complex products for a Cholesky decomposition of n inner features at each frequency
of the image, and the square of the classes for each feature. A certificate for 10,000 classes is nearly all their constants,
which `evaluate` computes twice, for any number of images.

![Seconds against what grows, dotted: predicted from the first point](cost.png)

{tables}

## On paper
A training step of `{paper}` in bfloat16, T in float32, on GPUs that do what an H100 SXM is stated to do, at {efficiency} of the
roofline, which a step of it at batch {paper_batch} in float32 reached on this machine. {global_batch} images a step in all. Each
GPU computes all of T, as plain DDP does, or its part, as `ShardRescaling` does. Gradients of {gradients:.2f} GB in float32 are
exchanged in a ring.

{training}

T breaks first: it does not shrink with the images of a GPU, and on 8 of them takes longer than these. On 64 the exchange of
gradients takes as long, which a larger batch or accumulation hides. Memory is no limit: weights, gradients and two moments
take {state:.1f} GB.

Certifying the {imagenet} validation images of ImageNet at {size} × {size} by a network of the shape of `{paper}` takes
{operations:.0f} GFLOP an image in float64, {minutes:.1f} minutes of one such GPU at the same share of its roofline, if it
fitted. What breaks first are its dense layers, whose inputs are pixels: {weights:.1f} billion weights, {folded:.0f} GB in
float64. Networks that pool over the whole image before, such as `sll_convnet_l`, keep their size.

{environment}, sll_zoo {version}. `benchmarks/cost.py` makes this page.
"""
# The largest network of the paper, on GPUs as NVIDIA states them for an H100 SXM: operations a second in bfloat16 and float64
# (dense, tensor cores), and in float32 without them, in which T is computed; bytes a second of its memory, and of its links, to
# the 7 others in its machine and to further machines.
PAPER, GLOBAL_BATCH, GPUS, EPOCHS = "sll_xlarge", 1024, (1, 8, 64), 1000
FLOPS, FULL_FLOPS, DOUBLE_FLOPS = 989e12, 67e12, 67e12
BANDWIDTH, LINKS, FAR_LINKS, MACHINE = 3.35e12, 450e9, 50e9, 8
IMAGENET, IMAGENET_SIZE, IMAGENET_CLASSES = 50_000, 224, 1000


def network(**changes: int) -> LipNet:
    """Return the base network with one number changed."""
    torch.manual_seed(0)
    return LipNet(LipNetConfig(**BASE | changes))  # type: ignore[arg-type]  # one dictionary for integers of all meanings


def certifying(model: LipNet, images: torch.Tensor) -> Callable[[], Any]:
    """Return a function that certifies images by a network that is folded already."""
    folded = sll_zoo.fold(model, torch.float64)
    return lambda: certificate_of(folded, images)


def auditing(model: LipNet, images: torch.Tensor) -> Callable[[], Any]:  # noqa: ARG001 - the signature of all three
    """Return a function that audits."""
    return lambda: audit(model.eval())


WORK = {"training step": stepping, "certificate": certifying, "audit": auditing}


def uncounted(config: LipNetConfig) -> float:
    """Return the operations of an audit that are not counted: decompositions at each frequency, and distances of classes."""
    frequencies = config.img_size[0] * config.img_size[1] / 2
    distances = 3 * config.num_classes**2 * config.num_features
    return config.conv_layers * frequencies * 8 / 3 * config.conv_inner**3 + distances


def measured(work: str, changes: dict[str, int]) -> tuple[float, float, float]:
    """Return seconds, MB, and what theory predicts up to a factor, in a process of its own."""
    torch.set_num_threads(1)
    model = network(**changes)
    images, before = torch.rand(BATCH, *model.config.input_shape), resident_peak()
    (seconds,) = in_turn(WORK[work](model, images), repeats=REPEATS)
    memory = resident_peak() - before
    call = WORK[work](model.double(), images.double())  # torch does not count oneDNN's products in float32
    with Operations() as counted:
        call()
    return seconds, memory, counted.total + (uncounted(model.config) if work == "audit" else 0)


def least(config: LipNetConfig, batch: int, roofs: Roofs) -> tuple[float, float]:
    """Return the least seconds of a training step without T, and of T."""
    found = {False: 0.0, True: 0.0}
    for work in works(config, batch, 4, "ours", "training"):
        found[work.kind == "T"] += roofs.seconds(work)
    return found[False], found[True]


def exchange(numbers: int, gpus: int) -> float:
    """Return the seconds of a ring that sums float32 numbers of all GPUs."""
    return 2 * (gpus - 1) / gpus * 4 * numbers / (LINKS if gpus <= MACHINE else FAR_LINKS)


def on_paper() -> dict[str, Any]:
    """Return what the largest runs would take."""
    model = sll_zoo.create_model(PAPER)
    numbers, config = sum(parameter.numel() for parameter in model.parameters()), model.config
    (seconds,) = in_turn(stepping(model, torch.rand(PAPER_BATCH, *config.input_shape)), repeats=REPEATS)
    roof = measured_roof(torch.device("cpu"), torch.float32)
    efficiency = sum(least(config, PAPER_BATCH, Roofs(roof, roof))) / seconds
    gpu = Roofs(*(Roof(flops * efficiency, BANDWIDTH * efficiency) for flops in (FLOPS, FULL_FLOPS)))
    rows = []
    for gpus in GPUS:
        images, t = least(config, GLOBAL_BATCH // gpus, gpu)
        sent = exchange(numbers, gpus)
        alike, divided = (images + share + sent for share in (t, t / gpus))
        hours = [step * EPOCHS * 50_000 / GLOBAL_BATCH / 3600 for step in (alike, divided)]
        row = [f"{1e3 * value:.0f}" for value in (images, t, sent, alike, divided)]
        rows.append([str(gpus), *row, *(f"{value:.1f}" for value in hours)])
    head = [
        "GPUs",
        "images, ms",
        "T, ms",
        "exchange, ms",
        "step, ms",
        "with T divided, ms",
        f"hours for {EPOCHS:,} epochs",
        "with T divided",
    ]
    large = replace(config, img_size=(IMAGENET_SIZE, IMAGENET_SIZE))
    convolutions = 4 * large.conv_layers * IMAGENET_SIZE**2 * large.width * large.conv_inner * large.kernel_size**2
    dense = large.dense_layers * large.dense_inner * large.num_features
    operations = convolutions + 4 * dense + 2 * IMAGENET_CLASSES * large.num_features
    return {
        "paper": PAPER,
        "paper_batch": PAPER_BATCH,
        "global_batch": f"{GLOBAL_BATCH:,}",
        "efficiency": percent(efficiency),
        "gradients": 4e-9 * numbers,
        "state": 16e-9 * numbers,
        "training": table(head, rows),
        "imagenet": f"{IMAGENET:,}",
        "size": IMAGENET_SIZE,
        "operations": 1e-9 * operations,
        "minutes": IMAGENET * operations / DOUBLE_FLOPS / efficiency / 60,
        "weights": 1e-9 * dense,
        "folded": 8e-9 * dense,
    }


def slope(values: tuple[int, ...], costs: list[float]) -> float:
    """Return the exponent between the last two values."""
    return math.log(costs[-1] / costs[-2]) / math.log(values[-1] / values[-2])


def main() -> None:
    """Measure, draw, and write the page."""
    pages = []
    figure, panels = plt.subplots(1, len(AXES), figsize=(3.2 * len(AXES), 3.4), layout="constrained", sharey=True)
    for panel, (axis, values) in zip(panels, AXES.items(), strict=True):
        rows, slopes = [], []
        for place, work in enumerate(WORK):
            with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
                found = pool.starmap(measured, [(work, {axis: value}) for value in values], chunksize=1)
            seconds, memory, predicted = (list(column) for column in zip(*found, strict=True))
            panel.plot(values, seconds, "o-", color=f"C{place}", label=work)
            panel.plot(values, [seconds[0] * value / predicted[0] for value in predicted], ":", color=f"C{place}")
            rows.append([work, *(f"{time:.3g} s, {size:,.0f} MB" for time, size in zip(seconds, memory, strict=True))])
            slopes.append([f"{slope(values, seconds):.2f}", f"{slope(values, predicted):.2f}"])
        panel.set(xscale="log", yscale="log", xlabel=axis, xticks=values, xticklabels=values)
        panel.minorticks_off()
        heads = [axis, *map(str, values), "exponent, last two", "predicted"]
        pages.append(f"## {axis}\n{table(heads, [row + ends for row, ends in zip(rows, slopes, strict=True)])}")
    panels[0].set_ylabel("seconds")
    panels[0].legend()
    with atomic_write(HERE / "cost.png") as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    torch.set_num_threads(1)
    base = ", ".join(f"{name} {value}" for name, value in BASE.items())
    facts = on_paper() | {"base": base, "batch": BATCH, "repeats": REPEATS, "environment": environment()}
    write_page("cost.md", PAGE.format(**facts, tables="\n\n".join(pages), version=sll_zoo.__version__))


if __name__ == "__main__":
    main()
