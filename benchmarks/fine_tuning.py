"""A worked example: the shipped digits, fine-tuned to a folder of other images, of another size and with other classes.

The folder holds scikit-learn's held-out digits, which the shipped weights have not seen, enlarged to 24 x 24 PNG files, as the
two classes even and odd. Each training is the README's command with ``configs/imagefolder/fine_tune.yaml``.

Run: .venv/bin/python benchmarks/fine_tuning.py (writes fine_tuning.md, in about three minutes).
"""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from record import HERE, environment, write_page
from torchvision.transforms.functional import InterpolationMode, resize
from torchvision.utils import save_image

import sll_zoo
from sll_zoo.certificates.evaluation import Evaluation
from sll_zoo.data import Digits, ImageFolder
from sll_zoo.reports.words import percent, table

PAGE = """# Fine-tuning to another folder of images
The shipped `sll_nano.digits` on scikit-learn's held-out digits, even and odd, as a folder of PNG files of 24 × 24 pixels:
{train} images to train on, {validation} to validate, {test} to test, resized to the 8 × 8 of the weights. Certificates in
float64, L2, ε in pixels of [0, 1], about the resized images. `configs/imagefolder/fine_tune.yaml`, {epochs} epochs, seed 0.

{table}

"Before" is the pretrained body with a new head that nobody has trained. One image is {point:.1f} points.

{environment}. `benchmarks/fine_tuning.py` makes this page.
"""
CONFIG = HERE.parent / "configs/imagefolder/fine_tune.yaml"
CLASSES, EDGE, EPOCHS = ("even", "odd"), 24, 30
# Options of a training from scratch: nothing pretrained, and the same learning rate in all layers.
TRAININGS = {
    "fine-tuned": (),
    "head alone": ("--model.head_only", "true"),
    "from scratch": ("--model.pretrained", "false", "--model.layer_decay", "1"),
}


def write_folder(root: Path) -> None:
    """Write the images, a folder for each class."""
    digits = Digits()
    images, labels = digits.tensors("test")
    for index, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        folder = root / CLASSES[label % 2]
        folder.mkdir(parents=True, exist_ok=True)
        save_image(resize(image, [EDGE, EDGE], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1), folder / f"{index}.png")


def before(data: ImageFolder) -> Evaluation:
    """Return the evaluation of the pretrained body with an untrained head."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sll_zoo.errors.UntrainedHeadWarning)
        model = sll_zoo.create_model("sll_nano.digits", pretrained=True, num_classes=len(CLASSES)).eval()
    return sll_zoo.evaluate(model, data.test_dataloader())


def trained(name: str, options: tuple[str, ...], data: ImageFolder) -> Evaluation:
    """Train by the command line and return the evaluation of the network in the saved folder."""
    command = [sys.executable, "-m", "sll_zoo", "fit", "--config", str(CONFIG), "--model.model_args.num_classes", "2"]
    command += [
        "--checkpoints.folder",
        f"checkpoints/{name}",
        "--trainer.max_epochs",
        str(EPOCHS),
        "--data.in_memory",
        "true",
        *options,
    ]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - this project's own command
    model = sll_zoo.create_model("local-dir:outputs/sll_nano.imagefolder", pretrained=True).eval()
    return sll_zoo.evaluate(model, data.test_dataloader())


def main() -> None:
    """Measure and write the page."""
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        write_folder(Path("data/images"))
        data = ImageFolder("data/images", image_size=8, channels=1, num_workers=0)
        found = {"before": before(data)} | {name: trained(name, options, data) for name, options in TRAININGS.items()}
        sizes = {part: len(data.tensors(part)[1]) for part in ("train", "validation", "test")}
    rows = [[name, percent(e.clean), *map(percent, e.certified.values())] for name, e in found.items()]
    head = ["", "clean", *(f"certified at {255 * eps:.0f}/255" for eps in found["before"].certified)]
    about = {"epochs": EPOCHS, "environment": environment(), "point": 100 / sizes["test"], **sizes}
    write_page("fine_tuning.md", PAGE.format(table=table(head, rows), **about))


if __name__ == "__main__":
    main()
