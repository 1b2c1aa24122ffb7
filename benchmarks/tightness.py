"""Does a tighter T buy certified accuracy? The same network trained for as long with each T, on copies of CIFAR-10's images.

Run, with the copies in data/cifar10-jpeg as configs/cifar10_jpeg/sll_tiny.yaml has them: .venv/bin/python benchmarks/tightness.py
It trains what has no result in tightness/ yet, two networks at a time with a core each (100 minutes in all, which may be
interrupted between two of them; other work beside them only costs minutes), and writes tightness.md and tightness.png.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib.pyplot as plt
import torch
from lightning import Trainer, seed_everything
from record import HERE, environment, write_page

from sll_zoo.data import ImageFolder
from sll_zoo.environment import commit
from sll_zoo.files import atomic_write, write_json
from sll_zoo.functional.convolution import frequencies
from sll_zoo.functional.spectral import trace_optimal
from sll_zoo.losses import OffsetCrossEntropy
from sll_zoo.reports.words import percent, table
from sll_zoo.training.callbacks import SeededBatches, TrainingReport
from sll_zoo.training.memory import keep_freed_memory
from sll_zoo.training.schedules import WarmupCosineLR
from sll_zoo.training.task import CertifiedClassifier

# Family, whether q is learned (without it, SLL's T is AOL's), and the number of epochs that one core does in 20 minutes.
CHOICES = {
    "SLL": ("sll", True, 8),
    "AOL": ("sll", False, 8),
    "k = 2": ("sll2", True, 7),
    "k = 4": ("sll4", True, 6),
    "CPL": ("cpl", True, 4),
}
SHAPE = {"width": 32, "conv_layers": 6, "conv_inner": 32, "dense_layers": 3, "dense_inner": 384, "patch": 1, "pool": 4}
SEEDS = (0, 1)
RESULTS = HERE / "tightness"
SHOWN = {"acc": "clean"} | {f"certified_acc_{level}": f"certified at {level}/255" for level in (36, 72, 108)}
PAGE = """# Does a tighter T buy certified accuracy?
Not here, in the same time. At 36/255, SLL, AOL's T, k = 2 and k = 4 differ by no more than their seeds; CPL, which has half the
epochs, is two points behind. AOL's T stays nearest to the least trace without being ahead; a learned q leaves it without being
behind.

A network of six convolutions of 32 channels and three dense layers with 384 hidden units (2.4 million parameters), in which
only T differs: SLL's row sums with a learned q, tightened SLL's of the powers 2 and 4 with q, AOL's row sums, CPL's norm,
all in the residual form x − 2 W T⁻¹ σ(Wᵀx + b). Each has as many epochs of the 45,000 images as a core does in 20 minutes, with a
crop and a flip, NAdam at 0.02, offset 1.6, warm-up and cosine, bfloat16, two networks at a time, some of them while a tenth of
the machine was at other work. Accuracies on the 10,000 test images in float64, L2, ε in pixels of [0, 1]: mean of the seeds
{seeds}, and each by itself. These are JPEG copies of CIFAR-10's images, not CIFAR-10.

{table}

tr T is relative to the least trace of any diagonal T for the same weights after training, mean of the layers (convolutions by
their frequencies on a torus of 16 x 16). Rates and minutes include validation. AOL's own layers, σ(W T^{{-1/2}} x + b), have five
times the parameters at these widths, and are not compared.

![Accuracies after each epoch](tightness.png)

{environment}. `benchmarks/tightness.py` makes this page.
"""


def train(choice: str, seed: int) -> dict[str, Any]:
    """Train a network, and return its accuracies and the time that it took."""
    torch.set_num_threads(1)
    keep_freed_memory()
    seed_everything(seed)
    family, learned, epochs = CHOICES[choice]
    task = CertifiedClassifier(
        f"{family}_tiny.cifar10_jpeg",
        model_args=SHAPE,
        loss=OffsetCrossEntropy(offset=1.6),
        optimizer=partial(torch.optim.NAdam, lr=0.02),
        scheduler=partial(WarmupCosineLR, warmup=0.1),
    )
    for name, parameter in task.model.named_parameters():
        if name.endswith("log_q"):
            parameter.requires_grad_(learned)
    data = ImageFolder("data/cifar10-jpeg", batch_size=128, augment="crop_flip", in_memory=True)
    report = TrainingReport(str(HERE.parent / f"outputs/tightness/{choice}-{seed}"))
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        precision="bf16-mixed",
        logger=False,
        callbacks=[SeededBatches(), report],
        enable_checkpointing=False,
        enable_progress_bar=False,
        num_sanity_val_steps=0,
    )
    data.setup()
    start = time.perf_counter()
    trainer.fit(task, data)
    seconds = time.perf_counter() - start
    (tested,) = trainer.test(task, data)
    return {
        "choice": choice,
        "seed": seed,
        "seconds": seconds,
        "history": report.state_dict()["history"],
        "test": {name: tested[f"test/{name}"] for name in SHOWN},
        "trace": tightness(task.model.double()),
        "environment": environment(),
        "commit": commit(),
    }


@torch.no_grad()
def tightness(model: Any) -> dict[str, list[float]]:
    """Return tr T relative to the least, of each layer."""
    found = {}
    for name, layers in (("convolutions", model.convs), ("dense layers", model.denses)):
        operators = [frequencies(layer.weight, (16, 16)) if layer.weight.ndim == 4 else layer.weight for layer in layers]
        found[name] = [
            float((2 / layer.step()).sum() / trace_optimal(operator @ operator.mH).sum())
            for layer, operator in zip(layers, operators, strict=True)
        ]
    return found


def train_all() -> list[dict[str, Any]]:
    """Train the networks that have no result yet, each in a new process, and return all results."""
    RESULTS.mkdir(exist_ok=True)
    paths = {(choice, seed): RESULTS / f"{choice.replace(' = ', '')}-{seed}.json" for seed, choice in product(SEEDS, CHOICES)}

    def run(key: tuple[str, int]) -> None:
        command = [sys.executable, __file__, *map(str, key), str(paths[key])]
        subprocess.run(command, check=True)  # noqa: S603 - this script

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(run, [key for key, path in paths.items() if not path.exists()]))
    return [json.loads(path.read_text("utf-8")) for path in paths.values()]


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw clean and certified accuracy against minutes, a line for each T: the mean of the seeds."""
    figure, panels = plt.subplots(1, len(SHOWN), figsize=(14, 4), layout="constrained", sharex=True)
    for axes, (name, title) in zip(panels, SHOWN.items(), strict=True):
        for choice in CHOICES:
            runs = [result for result in results if result["choice"] == choice]
            epochs = zip(*(run["history"] for run in runs), strict=True)
            heights = [100 * mean(row[f"val/{name}"] for row in rows) for rows in epochs]
            minutes = mean(run["seconds"] for run in runs) / 60
            axes.plot(
                [minutes * (n + 1) / len(heights) for n in range(len(heights))], heights, marker="o", markersize=3, label=choice
            )
        axes.set(title=title, xlabel="minutes")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("% of the 5,000 validation images")
    panels[0].legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def row(choice: str, runs: list[dict[str, Any]]) -> list[str]:
    """Return a row of the table."""
    accuracies = [
        f"{percent(mean(run['test'][name] for run in runs))} ({', '.join(percent(run['test'][name]) for run in runs)})"
        for name in SHOWN
    ]
    traces = [f"{mean(value for run in runs for value in run['trace'][kind]):.2f}" for kind in runs[0]["trace"]]
    epochs, seconds = len(runs[0]["history"]), mean(run["seconds"] for run in runs)
    return [choice, *accuracies, *traces, f"{epochs}", f"{epochs * 45_000 / seconds:.0f}", f"{seconds / 60:.1f}"]


def main() -> None:
    """Train one network, or all and write the page."""
    if len(sys.argv) > 1:
        choice, seed, path = sys.argv[1:]
        result = train(choice, int(seed))
        with atomic_write(Path(path)) as temporary:
            write_json(temporary, result)
        return
    results = train_all()
    draw(results, HERE / "tightness.png")
    header = ["T", *SHOWN.values(), "tr T, convolutions", "tr T, dense layers", "epochs", "images/s", "minutes"]
    rows = [row(choice, [result for result in results if result["choice"] == choice]) for choice in CHOICES]
    write_page("tightness.md", PAGE.format(
        seeds=" and ".join(map(str, SEEDS)), table=table(header, rows), environment=results[0]["environment"]
    ))  # fmt: skip


if __name__ == "__main__":
    main()
