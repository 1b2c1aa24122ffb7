"""Gain and cost of T from products in bfloat16: training steps of ``sll_small``, and trainings of ``sll_nano.digits``.

Run on an idle machine, about 15 minutes: .venv/bin/python benchmarks/half_rescaling.py; writes half_rescaling.md.
"""

from statistics import mean, median, stdev
from time import perf_counter
from typing import Any

import torch
from lightning import Trainer, seed_everything
from record import environment, write_page

import sll_zoo
from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits
from sll_zoo.losses import OffsetCrossEntropy
from sll_zoo.reports.words import percent, table
from sll_zoo.training.callbacks import BFloat16Rescaling, SeededBatches
from sll_zoo.training.memory import keep_freed_memory
from sll_zoo.training.products import change_products

BATCHES = (16, 64, 256)
REPETITIONS = 5
SEEDS = range(5)
EPOCHS = 120
RADII = (36 / 255, 72 / 255, 108 / 255)
PAGE = """# T from products in bfloat16
`BFloat16Rescaling` lets the products for T of dense SLL layers be of bfloat16 in the steps of a training, and nowhere else.

A training step of `sll_small` (forward, cross entropy, backward, Adam), all else in float32 or, "mixed", under bfloat16 autocast:
medians of {repetitions} steps in turn, in milliseconds.

{steps}

`sll_nano.digits` trained for {epochs} epochs as in `configs/digits/sll_nano.yaml`, each way with the seeds {seeds}: accuracy on
the 400 test digits in float64, mean and standard deviation.

{accuracies}

{environment}. `benchmarks/half_rescaling.py` makes this page.
"""


def step_times() -> str:
    """Return a table of the seconds of a training step."""
    model = sll_zoo.create_model("sll_small.cifar10")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    rows = []
    for mixed in (False, True):
        for batch in BATCHES:
            images, labels = torch.rand(batch, 3, 32, 32), torch.randint(10, (batch,))
            times: dict[Any, list[float]] = {None: [], torch.bfloat16: []}
            for repetition in range(REPETITIONS + 1):
                for compute_dtype, found in times.items():
                    change_products(model, compute_dtype=compute_dtype)
                    start = perf_counter()
                    with torch.autocast("cpu", enabled=mixed):
                        loss = torch.nn.functional.cross_entropy(model(images), labels)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    if repetition:
                        found.append(perf_counter() - start)
            full, half = (1000 * median(found) for found in times.values())
            rows.append([f"{batch}{', mixed' if mixed else ''}", f"{full:,.0f}", f"{half:,.0f}", f"{full / half:.2f}"])
    return table(["batch", "T in float32", "T in bfloat16", "times faster"], rows)


def accuracies() -> str:
    """Return a table of the accuracies after trainings."""
    rows = []
    for name, callbacks in (("float32", []), ("bfloat16", [BFloat16Rescaling()])):
        found = []
        for seed in SEEDS:
            seed_everything(seed, verbose=False)
            task = CertifiedClassifier("sll_nano.digits", loss=OffsetCrossEntropy(offset=0.4))
            data = Digits()
            quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
            trainer = Trainer(
                accelerator="cpu", max_epochs=EPOCHS, limit_val_batches=0, callbacks=[SeededBatches(), *callbacks], **quiet
            )
            trainer.fit(task, data)
            data.setup("test")
            evaluation = sll_zoo.evaluate(task.model, data.test_dataloader(), RADII)
            found.append([evaluation.clean, *evaluation.certified.values()])
        rows.append([name, *(f"{percent(mean(column))} ± {100 * stdev(column):.2f}" for column in zip(*found, strict=True))])
    return table(["T", "clean", *(f"certified at {round(255 * eps)}/255" for eps in RADII)], rows)


def main() -> None:
    """Measure and write the page."""
    keep_freed_memory()
    write_page("half_rescaling.md", PAGE.format(
        repetitions=REPETITIONS, steps=step_times(), epochs=EPOCHS, seeds=", ".join(map(str, SEEDS)),
        accuracies=accuracies(), environment=environment(),
    ))  # fmt: skip


if __name__ == "__main__":
    main()
