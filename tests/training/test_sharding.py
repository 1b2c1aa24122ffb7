"""Processes that share the work of T train as those that do not, each with its part of the products."""

import copy

import pytest
import torch
from lightning import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import distributed
from torch.utils.data import DataLoader, Subset
from torch.utils.flop_counter import FlopCounterMode

from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits, UnpaddedSampler, evaluation_loader
from sll_zoo.functional.fast.gram import abs_gram_product
from sll_zoo.layers import SLLLinear
from sll_zoo.training.callbacks import ShardRescaling
from sll_zoo.training.sharded_gram import sharded_abs_gram_product
from tests.processes import on_ranks

pytestmark = pytest.mark.processes

WORLDS = (2, 3)
# Images in a batch, over all processes, and batches.
BATCH, BATCHES = 12, 6
# Five units are not cut into equal blocks for any of WORLDS, and for three processes one of the blocks is empty.
SHAPE = {"width": 2, "conv_layers": 1, "conv_inner": 2, "dense_layers": 2, "dense_inner": 5}
# Units and features of one weight: one unit, fewer units than blocks, and units that the number of blocks does not divide.
SIZES = ((1, 3), (2, 2), (7, 4), (29, 8))
COUNTED = (48, 20)


class Dealt(LightningDataModule):
    """The first digits: each process gets its share of every batch, and of the validation images some get more than others."""

    def setup(self, stage):  # noqa: ARG002 - Lightning's signature
        digits = Digits()
        digits.setup()
        self.digits = digits.test_dataloader().dataset

    def train_dataloader(self):
        data, world = Subset(self.digits, range(BATCHES * BATCH)), self.trainer.world_size
        return DataLoader(data, batch_size=BATCH // world, sampler=UnpaddedSampler(data, world, self.trainer.global_rank))

    def val_dataloader(self):
        return evaluation_loader(Subset(self.digits, range(7)), 1)


class Look(Callback):
    """Note how many layers share, while training and in copies made then."""

    def on_train_batch_end(self, trainer, pl_module, *_):  # noqa: ARG002
        self.seen = [sharing(model) for model in (pl_module, copy.deepcopy(pl_module.model))]


def sharing(model):
    return sum(module.product is not abs_gram_product for module in model.modules() if isinstance(module, SLLLinear))


def trained(*callbacks, accumulate=1):
    """Return the parameters after two epochs with a validation each, and how many layers shared: while, in copies, after."""
    world = distributed.get_world_size() if distributed.is_initialized() else 1
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    options |= {"accelerator": "cpu", "devices": world, "strategy": "ddp" if world > 1 else "auto", "precision": "64-true"}
    look = Look()
    run = Trainer(
        max_epochs=2, accumulate_grad_batches=accumulate, callbacks=[EMAWeightAveraging(decay=0.5), *callbacks, look], **options
    )
    torch.manual_seed(0)
    task = CertifiedClassifier("sll_nano", model_args=SHAPE)
    run.fit(task, datamodule=Dealt())
    assert run.global_step == 2 * BATCHES // accumulate
    return {name: parameter.detach() for name, parameter in task.model.named_parameters()}, [*look.seen, sharing(task)]


def taken(size, product, rank, *options, dtype=torch.float64):
    """Return the product of a weight and a loss of this process's own: the result, and the derivatives."""
    generator = torch.Generator().manual_seed(0)
    weight, q = (torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in (size, size[:1]))
    result = product(weight, torch.tensor(2.0, dtype=dtype), q.exp(), *options)
    loss = (result * torch.arange(rank + 1, rank + 1 + len(q))).square().sum()
    return result.detach(), *torch.autograd.grad(loss, (weight, q))


def compared(rank, size, *compute_dtype, dtype=torch.float64):
    """Return the largest difference of the shared product and of the sums of derivatives from those of the formula."""
    (shared, *parts), (whole, *own) = (
        taken(size, sharded_abs_gram_product, rank, distributed.group.WORLD, *compute_dtype, dtype=dtype),
        taken(size, abs_gram_product, rank, dtype=dtype),
    )
    for tensor in (*parts, *own):
        distributed.all_reduce(tensor)
    pairs = zip((shared, *parts), (whole, *own), strict=True)
    return max(float((ours - theirs).abs().max() / (1 + theirs.abs().max())) for ours, theirs in pairs)


def counted(rank):
    with FlopCounterMode(display=False) as counter:
        taken(COUNTED, sharded_abs_gram_product, rank, distributed.group.WORLD)
    return counter.get_total_flops()


def share(rank):
    differences = [compared(rank, size) for size in SIZES]
    runs = [(trained(accumulate=n), trained(ShardRescaling(), accumulate=n)) for n in (1, 2)]
    rounded = compared(rank, SIZES[-1], dtype=torch.float32), compared(rank, SIZES[-1], torch.bfloat16)
    return differences, rounded, counted(rank), runs


@pytest.fixture(scope="module")
def alone():
    return [trained(ShardRescaling(), accumulate=n) for n in (1, 2)]


@pytest.mark.parametrize("world", WORLDS)
def test_processes_that_share_t_train_as_those_that_do_not_and_as_one(world, tmp_path, alone):
    units, features = COUNTED
    for differences, (rounded, half), flops, runs in on_ranks(world, share, tmp_path):
        assert max(differences) < 1e-12 < rounded < 1e-5 < half < 0.02
        # A process multiplies 2N + 1 pairs of blocks forward and 4N backward, in 2 (units / 2N)² features operations each.
        assert 2 * world**2 * flops == (2 * world + 1 + 4 * world) * units**2 * features
        for ((apart, none), (together, layers)), (single, single_layers) in zip(runs, alone, strict=True):
            assert (none, layers, single_layers) == ([0, 0, 0], [2, 0, 0], [0, 0, 0])
            torch.testing.assert_close(together, apart, rtol=0, atol=1e-10)
            torch.testing.assert_close(together, single, rtol=0, atol=1e-10)
