"""Every image counts once: the same figures, to the last bit, from one process, two and three."""

import pytest
import torch
from lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader, Subset
from torchmetrics import MetricCollection

from sll_zoo import CertifiedAccuracy, CertifiedAccuracyCurve, CertifiedClassifier, MeanCertifiedRadius
from sll_zoo.data import Digits, evaluation_loader
from sll_zoo.errors import ConfigError
from tests import tolerances as tol
from tests.processes import on_ranks

pytestmark = pytest.mark.processes

# Images in each batch: batches that do not divide by 2 or 3, and fewer batches than processes.
SIZES = ([7, 3, 11, 0, 5], [4, 1], [6])
# Images in the data set: neither 8 nor 25 divides by 3, 25 does not by 2, and 1 is fewer than the processes.
IMAGES = (1, 8, 25)
CLASSES = 5
ROUNDED = ("val/loss", "val/mean_radius", "test/mean_radius")


class Few(LightningDataModule):
    """The first digits, in batches of two."""

    def __init__(self, n, loader=evaluation_loader):
        super().__init__()
        digits = Digits()
        digits.setup()
        self.data = Subset(digits.test_dataloader().dataset, range(n))
        self.loader = loader

    def train_dataloader(self):
        return DataLoader(self.data, batch_size=2)

    def val_dataloader(self):
        return self.loader(self.data, 2)

    test_dataloader = predict_dataloader = val_dataloader


def values(sizes, rank, world):
    """Return the metrics of every ``world``-th batch."""
    averages = ({}, {"average": "macro", "num_classes": CLASSES}, {"average": None, "num_classes": CLASSES})
    kinds = (CertifiedAccuracy, MeanCertifiedRadius, CertifiedAccuracyCurve)
    metrics = MetricCollection({f"{kind.__name__} {options}": kind(**options) for kind in kinds for options in averages})
    generator = torch.Generator().manual_seed(0)
    for index, size in enumerate(sizes):
        batch = torch.randn(size, CLASSES, generator=generator), torch.randint(CLASSES, (size,), generator=generator)
        if index % world == rank:
            metrics.update(*batch, 0.7)
    return metrics.compute()


def trained(n, world):
    """Return the figures of Trainer.test and validate, and how many images predict saw; train once, with uneven validation."""
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(accelerator="cpu", devices=world, strategy="ddp" if world > 1 else "auto", max_epochs=1, **options)
    task = CertifiedClassifier("sll_nano.digits", pretrained=True)
    (tested,), (validated,) = trainer.test(task, Few(n), verbose=False), trainer.validate(task, Few(n), verbose=False)
    predicted = sum(len(batch["radius"]) for batch in trainer.predict(task, Few(n)))
    if n < IMAGES[-1]:
        trainer.fit(task, datamodule=Few(n))
    return {**tested, **validated}, predicted


def refusal(world):
    """Return what Trainer.test says of a loader that Lightning would pad."""
    trainer = Trainer(accelerator="cpu", devices=world, strategy="ddp", logger=False, enable_progress_bar=False)
    with pytest.raises(ConfigError) as caught:
        trainer.test(CertifiedClassifier("sll_nano.digits"), Few(7, lambda data, size: DataLoader(data, batch_size=size)))
    return str(caught.value)


def measured(rank, world):
    """Return what one of several processes measures."""
    return [values(sizes, rank, world) for sizes in SIZES], [trained(n, world) for n in IMAGES], refusal(world)


@pytest.mark.parametrize("world", [2, 3])
def test_every_image_counts_once_on_any_number_of_processes(world, tmp_path):
    ranks = on_ranks(world, measured, tmp_path, world)
    bare = [values(sizes, 0, 1) for sizes in SIZES]
    alone = [trained(n, 1) for n in IMAGES]
    for of_rank, _, _ in ranks:
        for actual, expected in zip(of_rank, bare, strict=True):
            torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    for index, n in enumerate(IMAGES):
        expected, _ = alone[index]
        for _, of_rank, _ in ranks:
            figures, _ = of_rank[index]
            # The network rounds a batch of another size in another way; what is counted is the same to the last bit.
            assert figures == expected | {name: pytest.approx(expected[name], rel=tol.FLOAT32) for name in ROUNDED}
        assert sum(of_rank[index][1] for _, of_rank, _ in ranks) == n
    for value in ("DistributedSampler", f"{7 + -7 % world} of 7", "sll_zoo.data.evaluation_loader"):
        assert all(value in message for _, _, message in ranks)
