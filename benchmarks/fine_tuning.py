"""A worked example, "your own images": photographs of traffic signs, from a folder to a certified network.

Each training is the guide's command with ``configs/imagefolder/fine_tune.yaml``. The page tells what a division by image instead
of by sign would have promised, what is certified of each class, and which confusion costs most.

Run: .venv/bin/python benchmarks/fine_tuning.py FOLDER (writes fine_tuning.md and fine_tuning.png), where FOLDER has the training
images of the German Traffic Sign Recognition Benchmark in a folder for each class, as torchvision's GTSRB downloads them.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
from record import HERE, environment, write_page

from sll_zoo.class_names import TRAFFIC_SIGNS
from sll_zoo.data import ImageFolder
from sll_zoo.data.groups import groups_of
from sll_zoo.functional.certificate import radius_label
from sll_zoo.reports.words import percent, table

PAGE = """# Your own images: traffic signs
{images:,} photographs of {signs} traffic signs in {classes} classes, 30 frames of each sign as a car drove by: the training
images of the German Traffic Sign Recognition Benchmark (Stallkamp et al. 2012){lacking}, in a folder for each class. They were
resized to the 32 × 32 pixels of the shipped weights `sll_tiny.cifar10`, and certificates are about the resized images:
float64, L2, ε in pixels of [0, 1]. (`torchvision.datasets.GTSRB('data', download=True)` puts these images into
`data/gtsrb/GTSRB/Training`.)

    .venv/bin/sll-zoo fit --config configs/imagefolder/fine_tune.yaml --model.model_args.num_classes 43 \\
        --data.root {root} --data.groups '[^_]*' {options}
    .venv/bin/sll-zoo audit local-dir:outputs/sll_tiny.imagefolder
    .venv/bin/sll-zoo certify local-dir:outputs/sll_tiny.imagefolder --out outputs/report
    .venv/bin/sll-zoo publish outputs/sll_tiny.imagefolder ORG/NAME --dry-run

## Hold out signs, not images
`groups` is a pattern; what it finds in CLASS/NAME is the group of an image, here the sign: `00014/00003` of
`00014/00003_00029.ppm`. No sign is in two parts. Without it, the tenth that is held out has frames of signs whose other frames
were trained on, and measures how well the network knows these signs. The same training, {epochs} epochs, seed 0:

{leak}

{promised} is no accuracy on signs that the network has never seen. A division by image promises {inflation:.1f} points more
clean accuracy than there is, and {certified_inflation:.1f} points more certified accuracy at 36/255.

## What pretraining gives
Divided by sign; the second row starts with random weights, at the same rate in all layers.

{start}

## Classes
{all_correct} of {classes} classes have every held-out image right. The five of which least is certified at 36/255
(30 images are one sign, so that the numbers of a class are coarse):

{worst}

## The confusion that costs most
{confusion} `outputs/report/report.html` shows all of this, and each image with the smallest and the largest radius.

![The most frequent confusions](fine_tuning.png)

Above, the held-out image of each confusion whose wrong class is hardest to change.

{environment}. `benchmarks/fine_tuning.py` makes this page.
"""
CONFIG = HERE.parent / "configs/imagefolder/fine_tune.yaml"
SAVED = Path("outputs/sll_tiny.imagefolder")
GROUPS = "[^_]*"
EPOCHS = 4
OPTIONS = f"--trainer.max_epochs {EPOCHS} --trainer.accelerator cpu --trainer.precision bf16-mixed"
BY_SIGN = ("--data.groups", GROUPS)
TRAININGS = {
    "by sign": BY_SIGN,
    "by image": (),
    "from scratch": (*BY_SIGN, "--model.pretrained", "false", "--model.layer_decay", "1"),
}
SHOWN = 6
PUBLISHED = 26_640


@dataclass(frozen=True)
class Trained:
    """A saved network's report, as ``sll-zoo certify --out`` writes it, and the images that it was measured on."""

    report: dict[str, Any]
    data: ImageFolder


def run(*command: str) -> None:
    """Run one of this project's commands in the current folder."""
    subprocess.run([sys.executable, "-m", "sll_zoo", *command], check=True)  # noqa: S603 - this project's own command


def trained(name: str, options: tuple[str, ...], folder: Path) -> Trained:
    """Train in a folder of its own, unless that was done before, and certify the held-out images."""
    place = Path(name.replace(" ", "_"))
    place.mkdir(exist_ok=True)
    os.chdir(place)
    images = Path(folder.name)
    if not images.exists():
        images.symlink_to(folder)
    if not Path("report/report.json").exists():
        fit = ["fit", "--config", str(CONFIG), "--data.root", images.name, "--model.model_args.num_classes", "43"]
        run(*fit, *OPTIONS.split(), *options)
        run("certify", f"local-dir:{SAVED}", "--out", "report")
    report = json.loads(Path("report/report.json").read_text("utf-8"))
    os.chdir("..")
    groups = GROUPS if BY_SIGN[0] in options else None
    return Trained(report, ImageFolder(str(folder), image_size=32, groups=groups, in_memory=True))


def accuracies(report: dict[str, Any]) -> list[str]:
    """Return clean and certified accuracies in words."""
    return [percent(count / report["n"]) for count in (report["correct"], *report["counts"])]


def sign(name: str) -> str:
    """Return what the sign of a class folder means."""
    return TRAFFIC_SIGNS[int(name)]


def worst(report: dict[str, Any]) -> str:
    """Return a table of the five classes of which least is certified."""
    order = sorted(report["classes"], key=lambda found: found["counts"][0] / found["n"])
    rows = [[sign(found["name"]), str(found["n"]), *accuracies(found)] for found in order[:5]]
    return table(["sign", "images", "clean", *map(_at, report["radii"])], rows)


def confusion(report: dict[str, Any]) -> str:
    """Return the most frequent confusion in a sentence."""
    most, wrong = report["confusions"][0], report["n"] - report["correct"]
    return (
        f"{most['n']} of the {wrong} wrong images are “{sign(most['label'])}” taken for “{sign(most['prediction'])}”, "
        f"{percent(most['n'] / wrong)} of all mistakes, in {len(report['confusions'])} confusions of one class with another."
    )


def draw(by_sign: Trained, path: Path) -> None:
    """Draw an image of each of the most frequent confusions above one of the class that it is taken for."""
    shown = by_sign.report["confusions"][:SHOWN]
    test = by_sign.data.part("test")
    labels = torch.as_tensor(test.labels)
    figure, axes = plt.subplots(2, len(shown), figsize=(2 * len(shown), 4.6), layout="constrained")
    for column, found in zip(axes.T, shown, strict=True):
        other = int((labels == by_sign.data.class_names.index(found["prediction"])).nonzero()[0])
        for axis, index, title in (
            (column[0], found["index"], f"{sign(found['label'])}\n({found['n']} images)"),
            (column[1], other, f"predicted:\n{sign(found['prediction'])}"),
        ):
            axis.imshow(test[index][0].permute(1, 2, 0))
            axis.set_title(title, fontsize=8, wrap=True)
            axis.axis("off")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _at(eps: float) -> str:
    return f"certified at {radius_label(eps)}"


def main() -> None:
    """Train, measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of class folders")
    parser.add_argument("--work", type=Path, default="outputs/fine_tuning", help="where trainings go (%(default)s)")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    arguments.work.mkdir(parents=True, exist_ok=True)
    os.chdir(arguments.work)
    found = {name: trained(name, options, folder) for name, options in TRAININGS.items()}
    by_sign, by_image = found["by sign"], found["by image"]
    head = ["", "images", "clean", *map(_at, by_sign.report["radii"])]
    rows = {name: [str(each.report["n"]), *accuracies(each.report)] for name, each in found.items()}
    clean, certified = (
        100 * (one[0] / by_image.report["n"] - other[0] / by_sign.report["n"])
        for one, other in (
            ([by_image.report["correct"]], [by_sign.report["correct"]]),
            (by_image.report["counts"], by_sign.report["counts"]),
        )
    )
    paths = [str(path) for path in folder.glob("*/*.ppm")]
    draw(by_sign, HERE / "fine_tuning.png")
    page = PAGE.format(
        images=len(paths),
        lacking=f", {PUBLISHED - len(paths)} of the {PUBLISHED:,} missing" if len(paths) < PUBLISHED else "",
        signs=len(set(groups_of(paths, folder, folder, GROUPS))),
        classes=len(by_sign.report["classes"]),
        options=OPTIONS,
        root=folder.name,
        epochs=EPOCHS,
        leak=table(head, [[f"held out {name}", *rows[name]] for name in ("by sign", "by image")]),
        promised=percent(by_image.report["correct"] / by_image.report["n"]),
        inflation=clean,
        certified_inflation=certified,
        start=table(head, [[name, *rows[key]] for name, key in (("fine-tuned", "by sign"), ("from scratch", "from scratch"))]),
        all_correct=sum(row["correct"] == row["n"] for row in by_sign.report["classes"]),
        worst=worst(by_sign.report),
        confusion=confusion(by_sign.report),
        environment=environment(),
    )
    write_page("fine_tuning.md", page)


if __name__ == "__main__":
    main()
