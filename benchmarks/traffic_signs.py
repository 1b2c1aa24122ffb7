"""What a certificate costs on traffic signs: a plain CNN beside the shipped network, trained and tested on the same signs.

Run, with the images in data/gtsrb: .venv/bin/python benchmarks/traffic_signs.py (writes traffic_signs.md; minutes on two cores).
"""

import time

import plain_training
import torch
from record import environment, write_page
from torch import Tensor, nn

from sll_zoo.data import TrafficSigns
from sll_zoo.reports.words import percent, table
from sll_zoo.zoo.records.record import read_records

EPOCHS, BATCH, RATE = 12, 128, 0.01
NAME = "sll_tiny.gtsrb_subset_26638"
PAGE = """# What a certificate costs on traffic signs
The training images of the German Traffic Sign Recognition Benchmark (Stallkamp et al. 2012), resized to 32 × 32 pixels:
{training:,} to train on and {n:,} of other signs to test. The plain network has {layers} convolutions with batch normalisation
and {parameters:.1f} million parameters; it was trained on the same images, {epochs} epochs in {minutes:.0f}
minutes. Of it nothing is certified.

{table}

{environment}. `benchmarks/traffic_signs.py` makes this page.
"""


def plain(classes: int, channels: int = 3) -> nn.Sequential:
    """Return a convolutional network as one would train without a certificate."""
    layers: list[nn.Module] = []
    for width in (32, 64, 128):
        for _ in range(2):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(channels, classes))


def train(network: nn.Module, images: Tensor, labels: Tensor, epochs: int = EPOCHS) -> None:
    """Train the plain network."""
    plain_training.train(network, images, labels, epochs=epochs, batch=BATCH, rate=RATE, weight_decay=0.05)


@torch.no_grad()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Return the fraction of images that are classified correctly."""
    found = torch.cat([network(few).argmax(1) for few in torch.split(images, 256)])
    return (found == labels).double().mean().item()


def main() -> None:
    """Train the plain network and write the page."""
    torch.manual_seed(0)
    data = TrafficSigns()
    data.setup()
    measured = read_records()[NAME].measured
    assert measured  # noqa: S101 - what is shipped is measured
    if data.fingerprint("test") != measured.fingerprint:
        raise SystemExit(f"data/gtsrb has other images than the record of {NAME}")
    network, start = plain(len(data.class_names)), time.perf_counter()
    train(network.train(), *data.tensors("train"))
    minutes = (time.perf_counter() - start) / 60
    clean = accuracy(network.eval(), *data.tensors("test"))
    certified = [percent(at.accuracy) for at in measured.accuracy.certified]
    rows = [
        [f"`{NAME}`", percent(measured.accuracy.clean), *certified],
        ["plain", percent(clean), *("none" for _ in certified)],
    ]
    header = ["network", "clean", *(f"certified at {at.label}" for at in measured.accuracy.certified)]
    page = PAGE.format(
        training=len(data.part("train")),
        n=measured.n,
        layers=sum(isinstance(layer, nn.Conv2d) for layer in network),
        parameters=sum(parameter.numel() for parameter in network.parameters()) / 1e6,
        epochs=EPOCHS,
        minutes=minutes,
        table=table(header, rows),
        environment=environment(),
    )
    write_page("traffic_signs.md", page)


if __name__ == "__main__":
    main()
