"""How tight is each T? Trace, closeness to orthogonal and spectrum of W T^{-1/2}, for Gaussian and for trained weights.

Run: .venv/bin/python benchmarks/rescalings.py (writes rescalings.md, in about a minute)
"""

from collections.abc import Iterable

import torch
from record import environment, write_page

import sll_zoo
from sll_zoo.functional.rescaling import tightened
from sll_zoo.functional.spectral import trace_optimal

CHOICES = ("AOL", "k = 2", "k = 4", "k = 8", "spectral", "optimal")
PAGE = """# How tight is each T?
For W with n columns, T ≽ WᵀW diagonal and P = W T^{{-1/2}}: the trace of T, also relative to the least of any diagonal T,
‖P‖²/n (Frobenius; 1 would be orthogonal), and the singular values of P. AOL is SLL at q = 1; k is tightened SLL's. Means over the
draws.

At random weights a higher power is tighter. Training with SLL itself has brought AOL's T close to the least there is; a higher
power is then looser.

{tables}
{environment}, sll_zoo {version}, float64. `benchmarks/rescalings.py` makes this page.
"""


def rescalings(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the diagonal of T by choice, for V = Wᵀ (n, m)."""
    gram, zero = weight @ weight.mT, torch.zeros(len(weight), dtype=weight.dtype)
    powers = [tightened(weight, zero, power) for power in (1, 2, 4, 8)]
    spectral = torch.linalg.matrix_norm(weight, 2).square().expand(len(weight))
    return dict(zip(CHOICES, [*powers, spectral, trace_optimal(gram)], strict=True))


def table(title: str, weights: Iterable[torch.Tensor]) -> str:
    """Return the table of one kind of weights."""
    sums: dict[str, torch.Tensor] = {}
    draws = 0
    for weight in weights:
        draws += 1
        choices = rescalings(weight)
        for name, t in choices.items():
            p = weight / t.sqrt()[:, None]
            values = torch.linalg.svdvals(p)
            relative = t.sum() / choices["optimal"].sum()
            row = torch.stack([t.sum(), relative, p.square().sum() / len(t), values.min(), values.mean(), values.max()])
            sums[name] = sums.get(name, 0) + row
    lines = [
        f"## {title}, n of draws = {draws}",
        "",
        "| T | tr T | tr T / least | ‖P‖²/n | smallest σ | mean σ | largest σ |",
        "|" + " --- |" * 7,
    ]
    for name, row in sums.items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row / draws) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and write the page."""
    generator = torch.Generator().manual_seed(0)
    model = sll_zoo.create_model("sll_nano.digits", pretrained=True).double()
    tables = [
        table(
            f"Gaussian of variance 1/{m}, {m} x {n}",
            (torch.randn(n, m, dtype=torch.float64, generator=generator) / m**0.5 for _ in range(draws)),
        )
        for m, n, draws in ((40, 30, 100), (200, 60, 20))
    ]
    tables.append(
        table("Trained, dense layers of sll_nano.digits (512 x 128)", (layer.weight.detach() for layer in model.denses))
    )
    write_page("rescalings.md", PAGE.format(tables="\n".join(tables), environment=environment(), version=sll_zoo.__version__))


if __name__ == "__main__":
    main()
