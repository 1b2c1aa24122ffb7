"""How much two processes save that share the work of T: operations, time and memory of each.

Run on an idle machine, about ten minutes: .venv/bin/python benchmarks/sharding.py; writes sharding.md.
"""

import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from record import environment, resident_peak, write_page
from torch import Tensor, distributed
from torch.utils.flop_counter import FlopCounterMode

from sll_zoo import CertifiedClassifier, create_model
from sll_zoo.data import Synthetic
from sll_zoo.functional.fast.gram import abs_gram_product
from sll_zoo.reports.words import table
from sll_zoo.training.callbacks import ShardRescaling
from sll_zoo.training.memory import keep_freed_memory
from sll_zoo.training.sharded_gram import sharded_abs_gram_product
from sll_zoo.zoo.entries import SIZES

WORLDS = (1, 2)
REPETITIONS = 5
# Training of the largest network: images in a batch of all processes, and steps, of which the first is not timed.
BATCH, STEPS = 16, 3
ALONE = "one process alone"
PAGE = """# Work shared among processes
## T
`ShardRescaling` lets each of N processes compute 1/N of the T of a dense layer, and of its derivatives. One dense layer of two
sizes of the paper, float32, N processes of one thread each on two cores, joined by gloo: operations and milliseconds of a process
for forward and backward. "Whole" is what each process does without sharing, measured in turn with "shared" in the same
processes; medians of {repetitions}, of which each is the time of the slowest process.

{products}

Forward, symmetry leaves half of the products, backward all of them, whole as well as shared.

## A training
`sll_xlarge` ({parameters} parameters), NAdam, float32, batches of {batch} random images over {world} processes of a thread each:
the median time of {steps} steps after the first, and the most memory that one of the processes had. One process alone, of one
thread, has all images of the batch.

{trainings}

{environment}; one thread for each process. `benchmarks/sharding.py` makes this page.
"""

Product = Callable[[Tensor, Tensor, Tensor], Tensor]


def shapes() -> dict[str, tuple[int, int]]:
    """Return inner and outer features of the dense layers of the smallest and the largest size of the paper."""
    return {name: (SIZES[name].dense_inner, SIZES[name].num_features) for name in ("small", "xlarge")}


def once(product: Product, weight: Tensor, q: Tensor) -> tuple[Tensor, ...]:
    """Return a product and its derivatives as a training step takes them."""
    sums = product(weight, torch.tensor(1.0), q)
    return sums.detach(), *torch.autograd.grad(sums.log().sum(), (weight, q))


def counted(product: Product, weight: Tensor, q: Tensor) -> int:
    """Return the number of floating-point operations in this process's matrix products."""
    # float64 is used because torch does not count oneDNN's products in float32.
    double, q = (tensor.detach().double().requires_grad_() for tensor in (weight, q))
    with FlopCounterMode(display=False) as counter:
        once(product, double, q)
    return counter.get_total_flops()


def products_measured() -> dict[str, dict[str, tuple[int, float]]]:
    """Return operations and milliseconds of this process, by size, whole and shared."""
    products: dict[str, Product] = {
        "whole": abs_gram_product,
        "shared": partial(sharded_abs_gram_product, group=distributed.group.WORLD),
    }
    found = {}
    for size, shape in shapes().items():
        torch.manual_seed(0)
        weight, q = (torch.randn(shape) / shape[1] ** 0.5).requires_grad_(), torch.rand(shape[0]).add(0.5).requires_grad_()
        operations = {name: counted(product, weight, q) for name, product in products.items()}
        times: dict[str, list[float]] = {name: [] for name in products}
        for _ in range(REPETITIONS):
            for name, product in products.items():
                distributed.barrier()
                start = perf_counter()
                once(product, weight, q)
                times[name].append(slowest(perf_counter() - start))
        found[size] = {name: (operations[name], 1000 * median(times[name])) for name in products}
    return found


def slowest(value: float) -> float:
    """Return the largest of the processes' values."""
    tensor = torch.tensor(value, dtype=torch.float64)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return float(tensor)


class Clock(Callback):
    """Note when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ARG002
        """Note the time."""
        self.ends.append(perf_counter())


def training_measured(strategy: str, *callbacks: Callback) -> tuple[float, float]:
    """Return the seconds of a step and the most megabytes of any of the processes."""
    torch.manual_seed(0)
    keep_freed_memory()  # as the command line does
    clock, quiet = Clock(), {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    run = Trainer(
        accelerator="cpu",
        devices=distributed.get_world_size(),
        strategy=strategy,
        callbacks=[clock, *callbacks],
        max_steps=STEPS,
        limit_val_batches=0,
        enable_model_summary=False,
        **quiet,
    )
    run.fit(CertifiedClassifier("sll_xlarge.cifar10", optimizer=torch.optim.NAdam), Synthetic(batch_size=BATCH))
    times = [end - start for start, end in pairwise(clock.ends)]
    return slowest(median(times)), slowest(resident_peak())


MEASURED: dict[str, Callable[[], Any]] = {
    "T": products_measured,
    ALONE: partial(training_measured, "auto"),
    "`ddp`": partial(training_measured, "ddp"),
    "`ddp`, `ShardRescaling`": lambda: training_measured("ddp", ShardRescaling()),
}


def process(rank: int, what: str, world: int, folder: str) -> None:
    """Measure as one of the processes; the first one writes the results."""
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE=str(world), OMP_NUM_THREADS="1")
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    found = MEASURED[what]()
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    distributed.destroy_process_group()


def measured(what: str, world: int) -> Any:
    """Return the results of new processes."""
    with TemporaryDirectory() as folder:
        torch.multiprocessing.start_processes(process, (what, world, folder), nprocs=world, start_method="spawn")
        return torch.load(Path(folder) / "found.pt")


def products_table() -> str:
    """Return the table of T."""
    found = {world: measured("T", world) for world in WORLDS}
    rows = []
    for size, (inner, outer) in shapes().items():
        for world in WORLDS:
            (flops, time), (part, shared) = (found[world][size][how] for how in ("whole", "shared"))
            operations, times = (f"{flops / 1e9:.1f}", f"{part / 1e9:.1f}"), (f"{time:.0f}", f"{shared:.0f}")
            rows.append([f"`{size}`, {inner:,} × {outer:,}", str(world), *operations, *times, f"{shared / time:.2f}"])
    return table(["layer", "N", "GFLOP whole", "shared", "ms whole", "shared", "shared / whole"], rows)


def trainings_table() -> str:
    """Return the table of trainings."""
    rows = []
    for how in list(MEASURED)[1:]:
        seconds, peak = measured(how, 1 if how == ALONE else WORLDS[-1])
        rows.append([how, f"{seconds:.1f}", f"{peak:,.0f}"])
    return table(["strategy", "seconds a step", "MB of a process"], rows)


def main() -> None:
    """Measure, and write the page."""
    with torch.device("meta"):
        network = create_model("sll_xlarge.cifar10")
    text = PAGE.format(
        repetitions=REPETITIONS,
        products=products_table(),
        parameters=f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.0f} million",
        batch=BATCH,
        world=WORLDS[-1],
        steps=STEPS - 1,
        trainings=trainings_table(),
        environment=environment(),
    )
    write_page("sharding.md", text)


if __name__ == "__main__":
    main()
