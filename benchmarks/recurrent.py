"""Digits as sequences: the shipped recurrent networks beside the feed-forward one, and the published Lipschitz RNN under attack.

Run: .venv/bin/python benchmarks/recurrent.py (writes recurrent.md; some minutes on two cores).
"""

import plain_training
import torch
from record import environment, write_page
from torch import Tensor, nn

from sll_zoo.certificates.adversaries import pgd
from sll_zoo.data import Digits, DigitsByPixel
from sll_zoo.functional.certificate import RADII_IN
from sll_zoo.layers import LipschitzRNNCell
from sll_zoo.reports.words import percent, table
from sll_zoo.zoo.records.record import read_records

EPOCHS, BATCH, RATE, STATE, EPSILON = 60, 64, 0.01, 128, 0.5
# Of PGD; the radii are those of the records.
STEPS, RESTARTS = 50, 2
SHIPPED = ("sll_nano.digits", "sll_rnn_nano.digits", "sll_rnn_nano.digits_by_pixel")
PAGE = """# Recurrent networks on digits
scikit-learn's digits, {training:,} to train on and {n} to test, as sequences of 8 rows of 8 pixels, and of 64 pixels. The first
table is what is proved of all {n} test images, from the records; `sll_nano` sees the whole image at once.

{certified}

The published Lipschitz RNN ([arXiv 2006.12070](https://arxiv.org/abs/2006.12070)), a state of {state} numbers in steps of
ε = {epsilon} and a linear layer on the last state, was trained on the same images by cross-entropy ({epochs} epochs, batches of
{batch}, AdamW, largest rate {rate}). Nothing is certified of it. The second table is what PGD ({steps} steps, {restarts}
restarts, in L2) leaves of the same {n} test images: an upper bound of its accuracy under attack, where the first table is a lower
one.

{attacked}

A sequence of pixels is changed by the same distance as the image that it is: there is no factor for its length.

{environment}. `.venv/bin/python benchmarks/recurrent.py` makes this page.
"""


class Published(nn.Module):
    """The published cell over the rows of images, with a linear layer on the last state; it has no certificate."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.cell, self.head = LipschitzRNNCell(inputs, STATE, epsilon=EPSILON), nn.Linear(STATE, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (batch, classes)."""
        state = images.new_zeros(len(images), STATE)
        for inputs in images.movedim(2, 1).flatten(2).unbind(1):
            state = self.cell(inputs, state)
        return self.head(state)


def train(network: nn.Module, images: Tensor, labels: Tensor) -> None:
    """Train the published network, with AdamW's own weight decay."""
    plain_training.train(network, images, labels, epochs=EPOCHS, batch=BATCH, rate=RATE, weight_decay=0.01, longest=1.0)


@torch.no_grad()
def left_by_pgd(network: nn.Module, images: Tensor, labels: Tensor) -> list[float]:
    """Return the fractions of images that stay correct, alone and at each radius; what a smaller ball broke stays broken."""
    correct, generator = network(images).argmax(1) == labels, torch.Generator().manual_seed(0)
    left = [correct.double().mean().item()]
    for eps in RADII_IN["2"]:
        todo = correct.nonzero()[:, 0]
        ball = torch.full((len(todo),), eps)
        options = {"guide": network, "norm": "2", "steps": STEPS, "restarts": RESTARTS, "generator": generator}
        found = pgd(network, images[todo], labels[todo], ball, **options)
        correct[todo] = network(found).argmax(1) == labels[todo]
        left.append(correct.double().mean().item())
    return left


def main() -> None:
    """Train and attack the published networks, and write the page."""
    torch.manual_seed(0)
    rows = []
    for data, name in ((Digits(), "row by row"), (DigitsByPixel(), "pixel by pixel")):
        data.setup()
        images, labels = data.tensors("train")
        network = Published(images.shape[1] * images.shape[3], len(data.class_names))
        train(network, images, labels)
        rows.append([f"published, {name}", *map(percent, left_by_pgd(network.eval(), *data.tensors("test")))])
    shipped = {name: read_records()[name].measured.accuracy for name in SHIPPED}
    proved = [[f"`{name}`", *map(percent, (of.clean, *(at.accuracy for at in of.certified)))] for name, of in shipped.items()]
    names = [at.label for at in shipped[SHIPPED[0]].certified]
    page = PAGE.format(
        training=len(data.part("train")),
        n=len(data.part("test")),
        certified=table(["network", "clean", *(f"certified at {label}" for label in names)], proved),
        state=STATE,
        epsilon=EPSILON,
        epochs=EPOCHS,
        batch=BATCH,
        rate=RATE,
        steps=STEPS,
        restarts=RESTARTS,
        attacked=table(["network", "clean", *(f"not broken at {label}" for label in names)], rows),
        environment=environment(),
    )
    write_page("recurrent.md", page)


if __name__ == "__main__":
    main()
