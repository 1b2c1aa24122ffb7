"""The command ``demo``: load, certify, draw and fine-tune the shipped digits classifier in thirty seconds."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from lightning import Trainer, seed_everything

from sll_zoo.certificates.certification import certify
from sll_zoo.certificates.evaluation import evaluate
from sll_zoo.cli.quiet import quiet_lightning
from sll_zoo.data import Digits
from sll_zoo.errors import ConfigError
from sll_zoo.files import obstacle_to_file
from sll_zoo.functional.certificate import radius_label
from sll_zoo.models.nearest import NearestNeighbour
from sll_zoo.reports.plot import plot_certified_accuracy
from sll_zoo.reports.progress import track_images
from sll_zoo.reports.tables import print_evaluation
from sll_zoo.reports.words import percent
from sll_zoo.training.task import CertifiedClassifier
from sll_zoo.zoo import create_model
from sll_zoo.zoo.listing import listed_models
from sll_zoo.zoo.records.card import describe

MODEL = "sll_nano.digits"

NEXT = """Next:
  {program} list                                        the models
  {program} certify {model} digits              this measurement alone
  {program} fit --config configs/digits/sll_nano.yaml   train and attack these weights yourself
  README.md: ten lines of Python that do the same"""


def run_demo(picture: Path) -> None:
    """Certify the held-out digits with the shipped weights, draw the result, and fine-tune the same weights."""
    if problem := obstacle_to_file(picture):
        raise ConfigError(problem, "name a picture in a folder of yours")
    with quiet_lightning():
        show(picture)


def show(picture: Path) -> None:
    """Certify, draw and fine-tune, and print the results."""
    data = Digits()
    data.setup()
    model = create_model(MODEL, pretrained=True).eval()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{MODEL}: {parameters:,} parameters, features 1-Lipschitz by construction")
    print("data: scikit-learn's digits, 8 x 8 pixels in [0, 1]\n")

    total = len(data.tensors("test")[1])
    evaluation = evaluate(model, track_images(data.test_dataloader(), total, "certifying the held-out images"))
    print_evaluation(evaluation)
    baseline = evaluate(NearestNeighbour(*data.tensors("train"), num_classes=10), data.test_dataloader())
    image, label = (part[:1] for part in data.tensors("test"))
    certificate = certify(model, image)
    print(
        f"The first image is a {label.item()}, classified as a {certificate.prediction.item()}: "
        f"no change of L2 length below {certificate.radius.item():.3f} alters that, whoever makes it."
    )
    curves = {MODEL: evaluation, "nearest-neighbour margin": baseline}
    path = plot_certified_accuracy(curves, f"digits, {evaluation.n} held-out images", picture)
    print(f"Certified accuracy against radius, beside a nearest-neighbour classifier: {path.resolve()}\n")

    fine_tune(data)
    show_largest()
    # The program's name is printed as it was typed, so that the next commands can be pasted.
    program = sys.argv[0] if Path(sys.argv[0]).name == "sll-zoo" else "python -m sll_zoo"
    print("\n" + NEXT.format(program=program, model=MODEL))


def fine_tune(data: Digits) -> None:
    """Train the shipped weights for three more epochs, with the paper's loss, and print what that changes."""
    seed_everything(0, verbose=False)
    task = CertifiedClassifier(MODEL, pretrained=True, optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.003))
    trainer = Trainer(
        max_epochs=3,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    before = evaluate(task.model, data.val_dataloader())
    trainer.fit(task, datamodule=data)
    after = evaluate(task.model, data.val_dataloader())
    print(
        f"The same weights, fine-tuned with a Lightning Trainer for {trainer.current_epoch} epochs: the paper's loss asks for\n"
        f"a larger margin, and trades small radii for large ones ({after.n} validation images):"
    )
    for eps in after.certified:
        print(f"  certified at {radius_label(eps):8} {percent(before.certified[eps]):>7} -> {percent(after.certified[eps]):>7}")


def show_largest() -> None:
    """Load the largest network with weights on this machine, and print its record."""
    largest = max((one.record for one in listed_models() if one.available), key=lambda record: record.parameters)
    start = time.perf_counter()
    create_model(largest.name, pretrained=True)
    seconds = time.perf_counter() - start
    print(f"\nThe largest with weights here, {largest.name}, was loaded in {seconds:.2f} s. On record:\n{describe(largest)}")
