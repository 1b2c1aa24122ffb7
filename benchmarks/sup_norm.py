"""L∞ on CIFAR-10: what a CPU core reaches with a small SortNet.

Run, with the images in data/: .venv/bin/python benchmarks/sup_norm.py (writes sup_norm.md and sup_norm.png).
"""

import time

import torch
from record import HERE, environment, write_page
from torch import Tensor

import sll_zoo
from sll_zoo.data import CIFAR10
from sll_zoo.functional.certificate import radius_label
from sll_zoo.layers import SortLinear
from sll_zoo.losses import OffsetCrossEntropy
from sll_zoo.models import SortNet, SortNetConfig
from sll_zoo.reports.plot import plot_certified_accuracy
from sll_zoo.reports.words import percent, table
from sll_zoo.training.callbacks import GrowingPower
from sll_zoo.training.memory import keep_freed_memory
from sll_zoo.training.schedules import WarmupCosineLR

WIDTH, EPOCHS, BATCH, RATE = 64, 2, 64, 0.02
# The margin of a radius of 8/255, for which the paper trains, and a temperature as in configs/cifar10.
OFFSET, TEMPERATURE = 16 / 255, 0.02
PAGE = """# L∞ on CIFAR-10: what a CPU core reaches
`sortnet_tiny` with layers of {width} units in place of 512 ({parameters:,} parameters), trained for {epochs} epochs of
{training:,} images in {seconds:,.0f} s of one core. Of {n:,} held-out images, certified in L∞ in float64:

{table}

![Certified accuracy against the L∞ radius](sup_norm.png)

Published ([arXiv 2210.01787](https://arxiv.org/abs/2210.01787)): 56.3 % at 2/255, by five layers of 5,120 units and a head, in
3,000 epochs. A step of the training compares each of the 3,072 pixels with each unit, in plain PyTorch: this is for a GPU, where
it was not tried. No weights are kept.

One seed (0), images as they are, batches of {batch}, Adam with the largest rate {rate}, cross-entropy with an offset
of {offset:.4f} and a temperature of {temperature}. {environment}. `benchmarks/sup_norm.py` makes this page.
"""


def train(network: SortNet, images: Tensor, labels: Tensor) -> None:
    """Train with the rate and the growth of p of SortNet's code."""
    steps = EPOCHS * (len(labels) // BATCH)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE, betas=(0.9, 0.99), eps=1e-10)
    schedule, power, loss = WarmupCosineLR(optimizer, steps, warmup=0.0), GrowingPower(), OffsetCrossEntropy(OFFSET, TEMPERATURE)
    layers: list[SortLinear] = [layer for layer in network.modules() if isinstance(layer, SortLinear)]
    orders = torch.cat([torch.randperm(len(labels))[: steps // EPOCHS * BATCH] for _ in range(EPOCHS)])
    for step, chosen in enumerate(orders.view(steps, BATCH)):
        for layer in layers:
            layer.p = power.p_at(step / steps)
        found = loss(network(images[chosen]), labels[chosen])
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
        schedule.step()


def main() -> None:
    """Train, evaluate, draw and write the page."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    keep_freed_memory()
    data = CIFAR10()
    data.setup()
    images, labels = data.tensors("train")
    network = SortNet(SortNetConfig(width=WIDTH))
    start = time.process_time()
    train(network.train(), images, labels)
    seconds = time.process_time() - start
    found = sll_zoo.evaluate(network.eval(), zip(*(part.split(256) for part in data.tensors("test")), strict=True))
    rows = [["0 (clean)", percent(found.clean)], *([radius_label(eps), percent(share)] for eps, share in found.certified.items())]
    name = f"sortnet, width {WIDTH}"
    plot_certified_accuracy({name: found}, f"{found.n:,} held-out images of CIFAR-10", HERE / "sup_norm.png")
    page = PAGE.format(
        width=WIDTH,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        epochs=EPOCHS,
        training=len(labels),
        seconds=seconds,
        n=found.n,
        table=table(["ε", "certified"], rows),
        batch=BATCH,
        rate=RATE,
        offset=OFFSET,
        temperature=TEMPERATURE,
        environment=environment(),
    )
    write_page("sup_norm.md", page)


if __name__ == "__main__":
    main()
