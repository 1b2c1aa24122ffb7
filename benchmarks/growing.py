"""The same wall time on one core: sll_large from scratch, and a small network that grows until it is sll_large.

Run: .venv/bin/python benchmarks/growing.py DATA (two processes at a time; writes growing.md), with CIFAR-10 in DATA.
"""

import argparse
import math
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import torch
from record import environment, write_page
from torch import Tensor
from torch.optim import NAdam, Optimizer

from sll_zoo import CertifiedAccuracy, OffsetCrossEntropy, create_model, grow
from sll_zoo.data import CIFAR10
from sll_zoo.data.augmentation import augment
from sll_zoo.data.images import evenly_spaced
from sll_zoo.layers.derived import begin_batch, end_batches
from sll_zoo.models import LipschitzClassifier
from sll_zoo.reports.words import percent, table
from sll_zoo.training.optimizers import parameter_groups
from sll_zoo.training.products import change_products

OFFSET, WARMUP, EPS = 1.0, 0.1, 36 / 255
# Images that go through the network at a time, and validation images that measure a stage.
PART, VALIDATED = 64, 1000


@dataclass(frozen=True)
class Stage:
    """A network, and how it is trained.

    Attributes:
        share: Of the wall time.
        rate: Largest learning rate.
        batch: Images of a step.
        sizes: What is changed in ``name``.
    """

    share: float
    rate: float
    batch: int
    name: str
    sizes: dict[str, int]


HALF = {"conv_layers": 10, "dense_layers": 2, "dense_inner": 512}
ARMS = {
    "grown": (
        Stage(0.6, 0.02, 128, "sll_small.cifar10", HALF | {"downsample": 2, "pool": 2}),
        Stage(0.15, 0.005, 128, "sll_small.cifar10", HALF),
        Stage(0.1, 0.005, 128, "sll_small.cifar10", {}),
        Stage(0.15, 0.002, 256, "sll_large.cifar10", {}),
    ),
    "from scratch": (Stage(1.0, 0.02, 256, "sll_large.cifar10", {}),),
}
PAGE = """# Growth against training from scratch
Two trainings that end as `sll_large`, 118.3 million parameters, on the 45,000 training images of CIFAR-10: {minutes:g} minutes
each of one core, growth and measuring apart. One begins as a network of 10 convolutions and two dense layers on images of half
their size, and grows by `sll_zoo.grow`; the other has its last shape from the beginning. NAdam with warm-up and cosine in
each stage, by the clock, bfloat16, flips, T once a step. Accuracies are of {validated:,} validation images, evenly spaced,
certified at ε = 36/255, L2 in pixels of [0, 1], in float32, after each stage; *as it starts* is before its first step.

{table}

- In the same time growth is far ahead, since the small network sees twenty-six times as many images.
- In stages as short as these, the large network keeps what the small one had and adds nothing yet.
- A finer image costs much of the accuracy at first; the next minutes repair it.
- The shipped `sll_large.cifar10` grew from `sll_small.cifar10` on a GPU (its card has the times); from scratch it was not trained
  there.

{environment}. `benchmarks/growing.py` makes this page.
"""


def main() -> None:
    """Train both, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--minutes", type=float, default=35)
    given = parser.parse_args()
    with ProcessPoolExecutor(len(ARMS)) as pool:
        found = [pool.submit(trained, arm, given.data, 60 * given.minutes) for arm in ARMS]
        rows = [row for arm in found for row in arm.result()]
    header = ["training", "network", "minutes", "steps", "images", "36/255, as it starts", "clean", "36/255"]
    filled = {"minutes": given.minutes, "validated": VALIDATED, "table": table(header, rows), "environment": environment()}
    write_page("growing.md", PAGE.format(**filled))


def trained(arm: str, root: str, seconds: float) -> list[list[str]]:
    """Train through all stages of an arm, and return a row for each."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = CIFAR10(root=root)
    data.setup("fit")
    images, labels = data.tensors("train")
    places = evenly_spaced(len(data.part("validation")), VALIDATED)
    held_out = [part[places] for part in data.tensors("validation")]
    first, *_ = ARMS[arm]
    network = create_model(first.name, **first.sizes)
    rows = []
    for stage, following in pairwise([*ARMS[arm], None]):
        start = accuracies(network, *held_out)
        steps = train(network, stage, images, labels, stage.share * seconds)
        clean, certified = accuracies(network, *held_out)
        parameters = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        spent = [f"{stage.share * seconds / 60:.0f}", f"{steps:,}", f"{steps * stage.batch:,}"]
        shown = f"{parameters:.1f} M" + (", images halved" if "downsample" in stage.sizes else "")
        rows.append([arm, shown, *spent, percent(start[1]), percent(clean), percent(certified)])
        print(*rows[-1], sep=", ", flush=True)
        if following:
            network = grow(network, following.name, images[:1024], **following.sizes)
    return rows


def train(network: LipschitzClassifier, stage: Stage, images: Tensor, labels: Tensor, seconds: float) -> int:
    """Train until the time is over, and return the number of steps."""
    change_products(network.train(), compute_dtype=torch.bfloat16)
    optimizer, loss = NAdam(parameter_groups(network)), OffsetCrossEntropy(offset=OFFSET)
    steps, start = 0, time.perf_counter()
    while (progress := (time.perf_counter() - start) / seconds) < 1:
        _set_rate(optimizer, stage.rate * min(progress / WARMUP, (1 + math.cos(math.pi * progress)) / 2))
        chosen = torch.randint(len(images), (stage.batch,))
        parts = list(zip(augment(images[chosen], "flip").split(PART), labels[chosen].split(PART), strict=True))
        for number, (part, target) in enumerate(parts, 1):
            begin_batch(network, last=number == len(parts))
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(part)
            (loss(logits.float(), target) * len(target) / stage.batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
    end_batches(network)
    return steps


def _set_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


@torch.no_grad()
def accuracies(network: LipschitzClassifier, images: Tensor, labels: Tensor) -> list[float]:
    """Return clean and certified accuracy."""
    metric, constants = CertifiedAccuracy([0.0, EPS]), network.eval().pairwise_lipschitz()
    for part, target in zip(images.split(PART), labels.split(PART), strict=True):
        metric.update(network(part), target, constants, network.norm)
    found: list[float] = metric.compute().tolist()
    return found


if __name__ == "__main__":
    main()
