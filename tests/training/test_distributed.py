"""Two processes train as one does: the same weights from the same batches, for every family."""

import os
from datetime import timedelta

import torch
from lightning import LightningDataModule, Trainer
from torch import distributed
from torch.utils.data import DataLoader, Subset

from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits, UnpaddedSampler
from sll_zoo.layers import FAMILIES

WORLD = 2
STEPS = 5
# Images in a batch, over all processes.
BATCH = 16
# Dense and convolutional layers of every family, as small as they come.
SHAPE = {"width": 2, "conv_layers": 2, "conv_inner": 3, "dense_layers": 2, "dense_inner": 8}


class Dealt(LightningDataModule):
    """The first digits; each process gets its share of every batch."""

    def train_dataloader(self):
        digits = Digits()
        digits.setup()
        data = Subset(digits.test_dataloader().dataset, range(STEPS * BATCH))
        world = self.trainer.world_size
        return DataLoader(data, batch_size=BATCH // world, sampler=UnpaddedSampler(data, world, self.trainer.global_rank))

    val_dataloader = train_dataloader


def trained(family, world):
    """Return the parameters after five steps, and the gradients of the last."""
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    options["precision"] = "64-true"
    strategy = "ddp" if world > 1 else "auto"
    trainer = Trainer(accelerator="cpu", devices=world, strategy=strategy, max_epochs=1, limit_val_batches=0, **options)
    torch.manual_seed(0)
    task = CertifiedClassifier(f"{family}_nano", model_args=SHAPE)
    trainer.fit(task, datamodule=Dealt())
    assert trainer.global_step == STEPS
    return {name: (parameter.detach(), parameter.grad) for name, parameter in task.model.named_parameters()}


def run(rank, store, results):
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE=str(WORLD))
    torch.set_num_threads(1)
    limit = timedelta(seconds=300)
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD, timeout=limit)
    results[rank] = {family: trained(family, WORLD) for family in FAMILIES}
    distributed.destroy_process_group()


def test_two_processes_train_as_one_does_and_no_parameter_is_unused(tmp_path):
    context = torch.multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        results = manager.dict()
        torch.multiprocessing.spawn(run, (tmp_path / "store", results), nprocs=WORLD)
        ranks = [results[rank] for rank in range(WORLD)]
    for family in FAMILIES:
        alone = trained(family, 1)
        for together in ranks:
            torch.testing.assert_close(together[family], alone, rtol=0, atol=1e-9)
