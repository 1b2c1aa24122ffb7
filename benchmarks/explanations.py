"""What gradients explain: networks whose gradient is as long as their constant, others with a certificate, and a plain CNN.

Run, with the images in data/: .venv/bin/pip install --group bench; .venv/bin/python benchmarks/explanations.py
(writes explanations.md and explanations.png; minutes of a core for each data set)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from captum.attr import NoiseTunnel, Saliency
from matplotlib.figure import Figure
from record import HERE, environment, write_page
from torch import Tensor, nn
from traffic_signs import accuracy, plain, train

import sll_zoo
from sll_zoo.certificates.certification import evaluation_form
from sll_zoo.data import CIFAR10, Digits, ImageData
from sll_zoo.data.images import evenly_spaced
from sll_zoo.files import atomic_write
from sll_zoo.reports.words import percent, table

# Lengths of a step against the gradient, in distances at which a linear margin would be 0.
MULTIPLES = (1.01, 1.1, 1.25, 1.5, 2.0)
# Noise of SmoothGrad, as in its paper a tenth of the range of pixels, and samples.
NOISE, SAMPLES = 0.1, 25
STEPS = 20
PICTURED = 6
PAGE = """# What gradients explain
The claims of "On the explainable properties of 1-Lipschitz Neural Networks" (Serrurier et al., NeurIPS 2023,
[arXiv 2206.06854](https://arxiv.org/abs/2206.06854)) as measurements, on held-out images, evenly spaced; y is the predicted class
and j the one that limits the certified radius, or the second one of the plain network. What is proved is said in
[explanations](../docs/explanations.md).

## How much of the constant the gradient has
‖∇(f_y − f_j)‖ / L_yj, and the certified radius / the distance of the nearer image of another class that was found: 1 would
be a certificate that nothing can improve.

{tightness}

## Whether the class changes where the gradient says
The share of images that are of another class (and of class j) after a step of k times the predicted distance
(f_y − f_j) / ‖∇(f_y − f_j)‖ against the gradient, as it is and clipped to [0, 1], which shortens it.

{changes}

## Deletion and insertion
Pixels are replaced by the mean of the training images in the order of the map, most salient first (deletion: lower is better),
or the image is filled into that mean in the same order (insertion: higher is better). The score is the share of images of the
predicted class, averaged over {steps} steps from no pixel to all, so that logits of different sizes can be compared; Petsiuk et
al. 2018 (arXiv 1806.07421) average a softmax. SmoothGrad (captum): the mean gradient over {samples} images with noise of {noise}.
Scores are comparable for one network; across networks see how far they are from those of a chance order.

{maps}

![images, maps and counterfactuals](explanations.png)

From the top: the image; the gradient of the plain network; its SmoothGrad; the gradient of {own};
and the image after twice the predicted step against that.

The plain network is that of [traffic signs](traffic_signs.md), trained for minutes without augmentation, on {training} images.
With n images a share is uncertain by up to 1/√n (two standard deviations): differences below that say nothing.
{environment}; {data}. `benchmarks/explanations.py` makes this page.
"""


@dataclass(frozen=True)
class Case:
    """A data set, the networks to compare on it and on how many images, and the training of the plain one."""

    data: type[ImageData]
    names: tuple[str, ...]
    n: int
    training: int
    epochs: int


CASES = (
    Case(Digits, ("bro_isometric_nano.digits", "sll_nano.digits"), n=200, training=1000, epochs=40),
    Case(CIFAR10, ("bro_isometric.cifar10", "sll_tiny.cifar10"), n=24, training=6000, epochs=3),
)


def margin(network: nn.Module, x: Tensor, y: Tensor, j: Tensor) -> Tensor:
    """Return f_y − f_j of each image."""
    logits: Tensor = network(x)
    return (logits.gather(1, y[:, None]) - logits.gather(1, j[:, None]))[:, 0]


def gradients(network: nn.Module, x: Tensor, y: Tensor, j: Tensor) -> dict[str, Tensor]:
    """Return the gradient of the margin and that of SmoothGrad, by name."""
    saliency = Saliency(lambda images, *pair: margin(network, images, *pair))
    pair: dict[str, Any] = {"additional_forward_args": (y, j), "abs": False}
    smooth = NoiseTunnel(saliency).attribute(
        x, nt_type="smoothgrad", nt_samples=SAMPLES, nt_samples_batch_size=1, stdevs=NOISE, **pair
    )
    return {"gradient": saliency.attribute(x, **pair).detach(), "SmoothGrad": smooth.detach()}


@torch.no_grad()
def scores(network: nn.Module, x: Tensor, y: Tensor, saliency: Tensor, mean: Tensor) -> tuple[float, float]:
    """Return deletion and insertion: the share of images of class y, averaged over shares of pixels."""
    rank = saliency.flatten(1).argsort(1, descending=True).argsort(1).view(len(x), 1, *x.shape[2:])
    kept = {"deletion": 0.0, "insertion": 0.0}
    for step in range(STEPS + 1):
        first = rank < step * rank[0].numel() / STEPS
        for way, chosen in (("deletion", ~first), ("insertion", first)):
            found = network(torch.where(chosen, x, mean)).argmax(1)
            kept[way] += (found == y).double().mean().item() / (STEPS + 1)
    return kept["deletion"], kept["insertion"]


@torch.no_grad()
def changed(network: nn.Module, x: Tensor, y: Tensor, j: Tensor, gradient: Tensor, clipped: bool) -> list[str]:
    """Return, for each multiple of the predicted step, the share of images of another class, and of class j."""
    cells = []
    for multiple in MULTIPLES:
        reached = stepped(network, x, y, j, gradient, multiple)
        found = network(reached.clamp(0, 1) if clipped else reached).argmax(1)
        cells.append(f"{percent((found != y).double().mean().item())} ({percent((found == j).double().mean().item())})")
    return cells


def stepped(network: nn.Module, x: Tensor, y: Tensor, j: Tensor, gradient: Tensor, multiple: float) -> Tensor:
    """Return the images after so many times the predicted step, f / ‖∇f‖² times the gradient."""
    t = multiple * margin(network, x, y, j) / gradient.flatten(1).square().sum(1)
    return x - t[:, None, None, None] * gradient


def measure(case: Case) -> tuple[dict[str, list[list[str]]], list[Tensor], str]:
    """Return the rows of each table, the rows of pictures, and what was measured on."""
    data = case.data()
    data.setup()
    training, labels = (part[evenly_spaced(len(part), case.training)] for part in data.tensors("train"))
    held_out = data.tensors("test")
    places = evenly_spaced(len(held_out[0]), case.n)
    images, truth = held_out[0][places].double(), held_out[1][places]
    mean = training.double().mean((0, 2, 3))[None, :, None, None]
    rows: dict[str, list[list[str]]] = {"tightness": [], "changes": [], "maps": []}
    torch.manual_seed(0)
    cnn = plain(len(data.class_names), images.shape[1])
    train(cnn.train(), training, labels, case.epochs)
    cnn.eval().double()
    networks: list[tuple[str, nn.Module]] = [(f"`{name}`", sll_zoo.create_model(name, pretrained=True)) for name in case.names]
    pictures = [images[:PICTURED]]
    for name, model in [*networks, (f"plain, {data.name}", cnn)]:
        if model is cnn:
            network: nn.Module = cnn
            y, j = cnn(images).topk(2).indices.unbind(1)
            rows["tightness"].append([name, percent(accuracy(network, images, truth)), "no constant", "", ""])
        else:
            network = evaluation_form(model.eval())
            found = sll_zoo.explain(network, images)
            y, j = found.prediction, found.target
            nearer = torch.minimum(found.counterfactual_distance, found.adversarial_distance)
            proved = (found.radius / nearer)[nearer.isfinite()]
            cells = [found.tightness.mean(), found.tightness.min(), proved.mean()]
            rows["tightness"].append([name, percent(accuracy(network, images, truth)), *(f"{cell:.4f}" for cell in cells)])
        made = gradients(network, images, y, j)
        for way, clipped in (("as it is", False), ("clipped", True)):
            rows["changes"].append([name, way, *changed(network, images, y, j, made["gradient"], clipped)])
        for way, values in {**made, "chance": torch.rand_like(images)}.items():
            pair = scores(network, images, y, values.norm(dim=1), mean)
            rows["maps"].append([name, way, *(f"{value:.3f}" for value in pair)])
        if model is cnn or name == networks[0][0]:
            kept = [made["gradient"], made["SmoothGrad"]] if model is cnn else [made["gradient"]]
            if model is not cnn:
                kept.append(stepped(network, images, y, j, made["gradient"], 2.0).detach().clamp(0, 1))
            pictures += [values[:PICTURED] for values in kept]
    image, own, other, gradient, smooth = pictures
    return rows, [image, gradient, smooth, own, other], f"{case.n:,} of {len(held_out[0]):,} images of {data.name}"


def draw(columns: list[list[Tensor]]) -> None:
    """Draw images and maps, a column for each image."""
    count = PICTURED * len(columns)
    figure = Figure(figsize=(1.1 * count, 5.6), layout="constrained")
    axes = figure.subplots(5, count)
    for at, case in enumerate(columns):
        for row, pictures in enumerate(case):
            for place, picture in enumerate(pictures):
                cell = axes[row, at * PICTURED + place]
                cell.set_axis_off()
                if row in (1, 2, 3):
                    cell.imshow(picture.norm(dim=0), cmap="inferno")
                else:
                    cell.imshow(picture.permute(1, 2, 0).expand(-1, -1, 3), vmin=0, vmax=1)
    with atomic_write(HERE / "explanations.png") as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def main() -> None:
    """Measure, draw and write the page."""
    measured = [measure(case) for case in CASES]
    rows = {name: [row for found, _, _ in measured for row in found[name]] for name in measured[0][0]}
    draw([pictures for _, pictures, _ in measured])
    heads = {
        "tightness": ["network", "clean, of these images", "gradient / constant, mean", "least", "radius / found, mean"],
        "changes": ["network", "step", *(f"k = {multiple}" for multiple in MULTIPLES)],
        "maps": ["network", "map", "deletion", "insertion"],
    }
    page = PAGE.format(
        **{name: table(head, rows[name]) for name, head in heads.items()},
        steps=STEPS,
        training=" and ".join(f"{case.training:,} ({case.epochs} epochs)" for case in CASES),
        samples=SAMPLES,
        noise=NOISE,
        own=" and ".join(f"`{case.names[0]}`" for case in CASES),
        environment=environment(),
        data=" and ".join(data for _, _, data in measured),
    )
    write_page("explanations.md", page)


if __name__ == "__main__":
    main()
