"""How much of a signal is left at depth d? Variance of the output relative to the input's, at initialisation, for every family.

Run: .venv/bin/python benchmarks/signal_propagation.py (writes signal_propagation.md and .png, in about a minute)
"""

import torch
from matplotlib.figure import Figure
from record import HERE, environment, write_page

import sll_zoo
from sll_zoo.files import written_whole
from sll_zoo.layers import FAMILIES

DEPTH, FEATURES, INNER, SEEDS, INPUTS = 100, 128, 128, 3, 256
DEPTHS = (1, 3, 10, 30, 100)
PAGE = """# How much of a signal is left at depth d?
Variance over inputs of the output, summed over features, relative to that of the input: {depth} dense blocks of {features}
features ({inner} inner), as the networks stack them, at initialisation; {inputs} standard normal inputs; mean over {seeds} seeds.

| family | {heads} |
| --- |{rule}
{rows}

![variance against depth](signal_propagation.png)

{environment}, sll_zoo {version}, float64. `benchmarks/signal_propagation.py` makes this page.
"""


@torch.no_grad()
def propagation(family: str) -> torch.Tensor:
    """Return the variance ratio at depth 1 to DEPTH, (DEPTH,), mean over seeds."""
    ratios = torch.zeros(SEEDS, DEPTH, dtype=torch.float64)
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        x = torch.randn(INPUTS, FEATURES, dtype=torch.float64)
        start = x.var(0).sum()
        for depth in range(DEPTH):
            x = FAMILIES[family].dense_block(FEATURES, INNER).double()(x)
            ratios[seed, depth] = x.var(0).sum() / start
    return ratios.mean(0)


def main() -> None:
    """Measure, draw and write the page."""
    curves = {family: propagation(family) for family in FAMILIES}
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="depth", ylabel="variance of output / of input", xscale="log", yscale="log")
    for family, curve in curves.items():
        axes.plot(range(1, DEPTH + 1), curve, label=family)
    axes.set_ylim(1e-6, 2)
    axes.legend(fontsize="small")
    with written_whole(HERE / "signal_propagation.png") as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    rows = [f"| {name} | " + " | ".join(f"{curve[depth - 1]:.2g}" for depth in DEPTHS) + " |" for name, curve in curves.items()]
    page = PAGE.format(
        depth=DEPTH,
        features=FEATURES,
        inner=INNER,
        inputs=INPUTS,
        seeds=SEEDS,
        heads=" | ".join(f"d = {depth}" for depth in DEPTHS),
        rule=" --- |" * len(DEPTHS),
        rows="\n".join(rows),
        environment=environment(),
        version=sll_zoo.__version__,
    )
    write_page("signal_propagation.md", page)


if __name__ == "__main__":
    main()
