"""How much of a signal is left at depth d? Variance of the output relative to the input's, at initialisation, for every family.

Run: .venv/bin/python benchmarks/signal_propagation.py (writes signal_propagation.md and .png, in about a minute)
"""

from collections.abc import Callable

import torch
from matplotlib.figure import Figure
from record import HERE, environment, write_page
from torch import nn

import sll_zoo
from sll_zoo.files import atomic_write
from sll_zoo.layers import FAMILIES
from sll_zoo.layers.parameters import orthogonal_

DEPTH, FEATURES, INNER, SEEDS, INPUTS = 100, 128, 128, 3, 256
DEPTHS = (1, 3, 10, 30, 100)
PAGE = """# How much of a signal is left at depth d?
Variance over inputs of the output, summed over features, relative to that of the input: {depth} dense blocks of {features}
features ({inner} inner), as the networks stack them, at initialisation; {inputs} standard normal inputs; mean over {seeds} seeds.

## As the layers start

{chosen}

![variance against depth](signal_propagation.png)

## With weights drawn from the Xavier normal distribution

{xavier}

## With orthogonal weights

{orthogonal}

## What was chosen, and why

Linear maps (`aol`, `spectral`) start orthogonal: T is then WᵀW, and what is lost is what MaxMin moves into the mean, as in the
`orthogonal` and `bro` families, whose start matters little. `lires` starts at the identity, so that one MaxMin finds its pairs as
the one before has sorted them. `sandwich` starts where half of the energy goes to each of its two matrices, and
with a bias of 1, since relu loses half of a signal around 0. The residual families start as the authors of SLL start them (Xavier
normal weights): up to ten layers SLL keeps more of a signal with them than with orthogonal ones, and published training
carries over. Orthogonal weights would keep more of it in deeper stacks, and for the tighter T from ten layers on.

{environment}, sll_zoo {version}, float64. `benchmarks/signal_propagation.py` makes this page.
"""


def as_it_starts(_: torch.Tensor) -> None:
    """Leave a weight as its layer drew it."""


@torch.no_grad()
def propagation(family: str, fill: Callable[[torch.Tensor], object]) -> torch.Tensor:
    """Return the variance ratio at depth 1 to DEPTH, (DEPTH,), mean over seeds, for weights that ``fill`` has filled."""
    ratios = torch.zeros(SEEDS, DEPTH, dtype=torch.float64)
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        x = torch.randn(INPUTS, FEATURES, dtype=torch.float64)
        start = x.var(0).sum()
        for depth in range(DEPTH):
            block = FAMILIES[family].dense_block(FEATURES, INNER).double()
            for name, parameter in block.named_parameters():
                if name.endswith("weight"):
                    fill(parameter)
            x = block(x)
            ratios[seed, depth] = x.var(0).sum() / start
    return ratios.mean(0)


def table(curves: dict[str, torch.Tensor]) -> str:
    """Return the ratios at some depths as a table."""
    lines = [f"| family | {' | '.join(f'd = {depth}' for depth in DEPTHS)} |", "| --- |" + " --- |" * len(DEPTHS)]
    for name, curve in curves.items():
        lines.append(f"| {name} | {' | '.join(f'{curve[depth - 1]:.2g}' for depth in DEPTHS)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, draw and write the page."""
    curves = {family: propagation(family, as_it_starts) for family in FAMILIES}
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="depth", ylabel="variance of output / of input", xscale="log", yscale="log")
    for family, curve in curves.items():
        axes.plot(range(1, DEPTH + 1), curve, label=family)
    axes.set_ylim(1e-6, 2)
    axes.legend(fontsize="small")
    with atomic_write(HERE / "signal_propagation.png") as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    page = PAGE.format(
        depth=DEPTH,
        features=FEATURES,
        inner=INNER,
        inputs=INPUTS,
        seeds=SEEDS,
        chosen=table(curves),
        xavier=table({family: propagation(family, nn.init.xavier_normal_) for family in FAMILIES}),
        orthogonal=table({family: propagation(family, orthogonal_) for family in FAMILIES}),
        environment=environment(),
        version=sll_zoo.__version__,
    )
    write_page("signal_propagation.md", page)


if __name__ == "__main__":
    main()
