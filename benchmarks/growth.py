"""What growth costs and what it gives: certified accuracy before it, after it, and after one more epoch.

Besides what ``sll_zoo.grow`` does, new layers of the same width are tried in two other ways: as they start in a network that is
trained from scratch, and in pairs that cancel. In a pair, the units of both layers are orthonormal rows u and −u with a bias at
which nearly all are active: then both layers are the reflection x − 2 Σ u uᵀ x, and together the identity.

Run: .venv/bin/python benchmarks/growth.py CHECKPOINT DATA (writes growth.md; a quarter of an hour on two cores), with a
checkpoint of a training on the 45,000 training images of CIFAR-10 in DATA, such as one of the race.
"""

import argparse
import logging
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from lightning import Trainer
from record import environment, write_page
from torch import Tensor, nn

from sll_zoo import CertifiedClassifier, OffsetCrossEntropy, create_model
from sll_zoo.data import CIFAR10
from sll_zoo.functional.convolution import same_conv2d
from sll_zoo.models import LipNet, LipschitzClassifier, growth
from sll_zoo.reports.words import percent, table
from sll_zoo.training.callbacks import BFloat16Rescaling
from sll_zoo.training.schedules import WarmupCosineLR
from sll_zoo.zoo.entries import recipe
from sll_zoo.zoo.growing import grow, some_images

RATE, WARMUP, OFFSET = 0.005, 0.1, 1.0
SHOWN = {"val/acc": "clean", "val/certified_acc_36": "36/255"}
PAGE = """# Growth
A network of {parameters:.2f} million parameters, trained on 45,000 images of CIFAR-10, grows by `sll_zoo.grow`, and is trained
for one more epoch on the same images (NAdam, rate {rate} with warm-up and cosine, bfloat16, flips). Accuracies are of the 5,000
validation images, clean and certified at ε = 36/255, L2 in pixels of [0, 1], in float32. The last two rows are other ways to
add layers, which the package does not take.

{table}

- More channels and inner units, and layers that work on new channels, change nothing; nor do silent layers, by more than a few
  images.
- Layers as they start cost what an epoch then repairs.
- Pairs that cancel start as well as silent layers, and then lose: they are linear, and a step that turns one of the two rows of a
  unit moves every image by its bias.
- One epoch is too short to gain from size: the first row is the small network, trained for the same epoch.

{environment}. `benchmarks/growth.py` makes this page.
"""


def as_they_start(network: LipNet, layers: Sequence[nn.Module], images: Tensor) -> None:
    """Leave new layers as they are."""


def in_pairs(network: LipNet, layers: Sequence[nn.Module], images: Tensor) -> None:
    """Make each two new layers one reflection, twice."""
    rows: dict[torch.Size, Tensor] = {}

    def reflect(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        middle = weight if weight.ndim == 2 else weight[:, :, weight.shape[2] // 2, weight.shape[3] // 2]
        half = len(middle) // 2
        again = rows.pop(middle.shape, None)
        units = nn.init.orthogonal_(torch.empty_like(middle[:half])) if again is None else again
        if again is None:
            rows[middle.shape] = units
        weight.zero_()
        middle[:half], middle[half : 2 * half] = units, -units
        sums = inputs[0] @ weight.mT if weight.ndim == 2 else same_conv2d(*inputs, weight, None, "zeros")
        sums = sums.movedim(1, 0).flatten(1).abs()
        bias.copy_(sums.kthvalue(int((1 - growth.ACTIVE) * sums.shape[1]), dim=1).values)

    handles = [layer.register_forward_pre_hook(reflect) for layer in layers]
    network(images)
    for handle in handles:
        handle.remove()


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("data")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data = CIFAR10(root=given.data, batch_size=128, augment="flip")
    data.setup("fit")
    small = create_model(f"ckpt:{given.checkpoint}", pretrained=True)
    assert isinstance(small, LipNet)  # noqa: S101 - others cannot grow
    config = small.config
    width = {"width": 3 * config.width // 2}
    inner = {"conv_inner": 2 * config.conv_inner, "dense_inner": 4 * config.dense_inner // 3}
    depth = {"conv_layers": config.conv_layers + 4, "dense_layers": config.dense_layers + 2}
    silent = growth._silence
    ways: dict[str, tuple[Callable[..., None], dict[str, int]]] = {
        "none": (silent, {}),
        f"width {config.width} to {width['width']}": (silent, width),
        f"inner units {config.conv_inner} to {inner['conv_inner']}, {config.dense_inner} to {inner['dense_inner']}": (
            silent,
            inner,
        ),
        "four convolutions and two dense layers, silent": (silent, depth),
        "all of these, new layers on new channels": (silent, width | inner | depth),
        "four convolutions and two dense layers, as they start": (as_they_start, depth),
        "four convolutions and two dense layers, in pairs": (in_pairs, depth),
    }
    rows = []
    for name, (way, changes) in ways.items():
        with patch.object(growth, "_silence", way):
            large = larger(small, data, changes)
        columns = [percent(value) for step in measured(small, large, data) for value in step]
        rows.append([name, f"{sum(parameter.numel() for parameter in large.parameters()) / 1e6:.2f} M", *columns])
        print(*rows[-1], sep=", ", flush=True)
    steps = ("before", "after", "after an epoch")
    header = ["growth", "parameters", *(f"{shown}, {step}" for step in steps for shown in SHOWN.values())]
    parameters = sum(parameter.numel() for parameter in small.parameters()) / 1e6
    write_page("growth.md", PAGE.format(parameters=parameters, rate=RATE, table=table(header, rows), environment=environment()))


def larger(small: LipschitzClassifier, data: CIFAR10, changes: dict[str, int]) -> LipschitzClassifier:
    """Return a larger copy of a network."""
    named = recipe(small)
    assert named  # noqa: S101 - it comes from a checkpoint
    return grow(small, named[0], some_images(data), **named[1] | changes)


def measured(small: LipschitzClassifier, large: LipschitzClassifier, data: CIFAR10) -> list[list[float]]:
    """Return clean and certified accuracy of a small network, of the large one, and of this after an epoch."""
    found = [accuracies(small, data), accuracies(large, data)]
    torch.manual_seed(0)
    task = CertifiedClassifier(
        large,
        loss=OffsetCrossEntropy(offset=OFFSET),
        optimizer=partial(torch.optim.NAdam, lr=RATE),
        scheduler=partial(WarmupCosineLR, warmup=WARMUP),
    )
    trainer(max_epochs=1, precision="bf16-mixed", limit_val_batches=0, callbacks=[BFloat16Rescaling()]).fit(task, datamodule=data)
    return [*found, accuracies(large, data)]


def accuracies(network: LipschitzClassifier, data: CIFAR10) -> list[float]:
    """Return clean and certified accuracy on the validation images."""
    (values,) = trainer().validate(CertifiedClassifier(network), datamodule=data, verbose=False)
    return [values[name] for name in SHOWN]


def trainer(**options: Any) -> Trainer:
    """Return a trainer that is quiet."""
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
    }
    return Trainer(accelerator="cpu", **quiet, **options)


if __name__ == "__main__":
    main()
