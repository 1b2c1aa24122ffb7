"""How fast are radii from logits? All images at once against a loop over images, for the same head, side by side.

Run: .venv/bin/python benchmarks/certification.py (writes certification.md, in about two minutes)
"""

import time
from collections.abc import Callable

import torch
from record import environment, write_page
from torch import Tensor

import sll_zoo
from sll_zoo.functional.certificate import RADII_IN, certified_radius
from sll_zoo.layers import UnitRowsLinear

RADII = RADII_IN["2"]
IMAGES, FEATURES, CLASSES, REPEATS = 10_000, 2048, (10, 100, 1000), 3
# Number of images for the loop, by number of classes: enough for its rate, as it does the same for each image.
LOOPED = {10: 5_000, 100: 1_000, 1000: 250}
PAGE = """# How fast are radii from logits?
A head with unit rows on {features} features, and the certified counts at {radii} radii. "At once" computes the constants of all
pairs of classes, from them the radii of {images} images, and counts; "loop" goes through the images one by one and computes the
norms of the row differences anew for each image, and all of that anew for each of the {radii} radii, as the published evaluation
code of SLL does, on so many images as the table says. Logits and head in {dtype} for both, where "at once" takes margins and
constants in float64; the best of {repeats} runs in turn. The radii agree to {agreement:.0e}, relatively.

{table}

{environment}, sll_zoo {version}. `benchmarks/certification.py` makes this page.
"""


def at_once(head: UnitRowsLinear, logits: Tensor) -> Tensor:
    """Return the radii (batch,)."""
    return certified_radius(logits, head.pairwise_lipschitz())[1]


def loop(head: UnitRowsLinear, logits: Tensor) -> Tensor:
    """Return the radii (batch,), one image after another."""
    rows, radii = head.unit_rows(), []
    for image in logits:
        top = int(image.argmax())
        others = torch.arange(len(image)) != top
        norms = torch.linalg.vector_norm(rows[top] - rows[others], dim=1)
        radii.append(((image[top] - image[others]) / norms).min())
    return torch.stack(radii)


def seconds(count: Callable[[UnitRowsLinear, Tensor], list[int]], head: UnitRowsLinear, logits: Tensor) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    count(head, logits)
    return time.perf_counter() - start


def counts_at_once(head: UnitRowsLinear, logits: Tensor) -> list[int]:
    """Return the certified counts at all radii, in one pass."""
    radius = at_once(head, logits)
    return [int((radius > eps).sum()) for eps in RADII]


def counts_by_loop(head: UnitRowsLinear, logits: Tensor) -> list[int]:
    """Return the certified counts, in one pass for each radius."""
    return [int((loop(head, logits) > eps).sum()) for eps in RADII]


@torch.no_grad()
def main() -> None:
    """Measure and write the page."""
    torch.manual_seed(0)
    heads = ["classes", "at once, images/s", "loop, images/s (n)", "times faster", "than the loop for one radius"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    agreement = 0.0
    for classes in CLASSES:
        head = UnitRowsLinear(FEATURES, classes)
        logits = head(torch.randn(IMAGES, FEATURES))
        few = logits[: LOOPED[classes]]
        agreement = max(agreement, float((at_once(head, few) / loop(head, few) - 1).abs().max()))
        runs = [(seconds(counts_at_once, head, logits), seconds(counts_by_loop, head, few)) for _ in range(REPEATS)]
        whole, single = (min(times) for times in zip(*runs, strict=True))
        fast, slow = IMAGES / whole, len(few) / single
        times = f"{fast / slow:,.0f} | {fast / slow / len(RADII):,.0f}"
        lines.append(f"| {classes} | {fast:,.0f} | {slow:,.0f} ({len(few):,}) | {times} |")
    write_page(
        "certification.md",
        PAGE.format(
            features=f"{FEATURES:,}",
            radii=len(RADII),
            images=f"{IMAGES:,}",
            dtype="float32",
            repeats=REPEATS,
            agreement=agreement,
            table="\n".join(lines),
            environment=environment(),
            version=sll_zoo.__version__,
        ),
    )


if __name__ == "__main__":
    main()
