"""What few bits a weight cost, after a training and in one: certified accuracy of the same network, trained twice.

Run: .venv/bin/python benchmarks/rounding.py DATA --epochs 8 (writes rounding.md; a quarter of an hour on two cores), with
CIFAR-10 in DATA. The two trainings are those of the race's candidate ``kernels``, but for their length.
"""

import argparse
import logging
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial

import torch
import yaml
from growth import SHOWN, accuracies, trainer
from lightning import Callback, seed_everything
from race import BASE, CANDIDATES
from record import environment, write_page

from sll_zoo import CertifiedClassifier, OffsetCrossEntropy, quantize
from sll_zoo.data import CIFAR10
from sll_zoo.reports.words import percent, table
from sll_zoo.training.callbacks import BFloat16Rescaling, RoundedWeights
from sll_zoo.training.schedules import WarmupCosineLR

CANDIDATE, BITS = "kernels", (32, 8, 6, 4)
PAGE = """# Weights of few bits
A network of {parameters:.2f} million parameters, most of them in its two dense layers, trained on 45,000 images of CIFAR-10 for
{epochs} epochs: as always, and with `RoundedWeights(4)`, whose steps see the weights rounded to 4 bits. Then each is rounded by
`sll_zoo.quantize`: tensors of at least 65,536 numbers to so many bits, others to 8 at least. Accuracies are of the 5,000
validation images, clean and certified at ε = 36/255, L2 in pixels of [0, 1], in float32; one seed.

{table}

- 8 and 6 bits cost nothing that one seed could show. 4 bits cost half a point, in either training.

{environment}. `benchmarks/rounding.py` makes this page.
"""


def main() -> None:
    """Train twice, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()
    ways = {"as always": 32, "of weights rounded to 4 bits": 4}
    with ProcessPoolExecutor(len(ways)) as pool:
        found = list(pool.map(partial(measured, given.data, given.epochs), ways.values()))
    header = ["training", *(f"{shown}, {bits} bits" for bits in BITS for shown in SHOWN.values())]
    rows = [[way, *map(percent, values)] for way, (_, values) in zip(ways, found, strict=True)]
    filled = {"parameters": found[0][0] / 1e6, "epochs": given.epochs, "table": table(header, rows)}
    write_page("rounding.md", PAGE.format(**filled, environment=environment()))


def measured(root: str, epochs: int, bits: int) -> tuple[int, list[float]]:
    """Train with steps that see weights of so many bits; return the number of parameters, and accuracies at all of ``BITS``."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    seed_everything(0, verbose=False)
    base, changes = (yaml.safe_load(path.read_text("utf-8")) for path in (BASE, CANDIDATES))
    sizes = base["model"]["model_args"] | changes[CANDIDATE]["model"]["model_args"]
    options = {"batch_size": base["data"]["init_args"]["batch_size"], "augment": base["data"]["init_args"]["augment"]}
    data = CIFAR10(root=root, **options)
    task = CertifiedClassifier(
        base["model"]["name"],
        model_args=sizes,
        loss=OffsetCrossEntropy(**base["model"]["loss"]["init_args"]),
        optimizer=partial(torch.optim.NAdam, **base["model"]["optimizer"]["init_args"]),
        scheduler=partial(WarmupCosineLR, **base["model"]["scheduler"]["init_args"]),
    )
    callbacks: list[Callback] = [BFloat16Rescaling(), RoundedWeights(bits)]
    trainer(max_epochs=epochs, precision="bf16-mixed", limit_val_batches=0, callbacks=callbacks).fit(task, datamodule=data)
    found = [value for width in BITS for value in accuracies(quantize(task.model, width), data)]
    return sum(parameter.numel() for parameter in task.model.parameters()), found


if __name__ == "__main__":
    main()
