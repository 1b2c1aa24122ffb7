"""Accumulated gradients are those of the whole batch, and each layer derives T once for all of them."""

import copy

import pytest
import torch
from lightning import Callback, LightningDataModule, Trainer
from torch import distributed
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Subset

from sll_zoo import CertifiedClassifier, create_model
from sll_zoo.data import Digits, UnpaddedSampler
from sll_zoo.layers import FAMILIES, SLLLinear
from sll_zoo.layers.derived import begin_batch
from sll_zoo.training.accumulation import DeriveOnceAStep
from tests.processes import on_ranks
from tests.tolerances import ACCUMULATED

SHAPE = {"width": 6, "conv_layers": 2, "conv_inner": 3, "dense_layers": 2, "dense_inner": 5}
EACH = 4
NAMES = [*(f"{family}_nano" for family in FAMILIES), "sll_rnn_nano", "bro_rnn_nano"]


class Few(LightningDataModule):
    """Five batches of the first digits for each process: accumulated by two, the last step has one alone."""

    def val_dataloader(self):
        return self.train_dataloader()

    def train_dataloader(self):
        digits, world = Digits(), self.trainer.world_size
        digits.setup()
        data = Subset(digits.test_dataloader().dataset, range(5 * EACH * world))
        return DataLoader(data, batch_size=EACH, sampler=UnpaddedSampler(data, world, self.trainer.global_rank))


def network(name):
    torch.manual_seed(0)
    return create_model(name, **({} if "rnn" in name else SHAPE)).double().train()


def trainer(*callbacks):
    world = distributed.get_world_size() if distributed.is_initialized() else 1
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(
        max_epochs=1,
        accumulate_grad_batches=2,
        accelerator="cpu",
        precision="64-true",
        devices=world,
        strategy="ddp" if world > 1 else "auto",
        callbacks=list(callbacks),
        **quiet,
    )


def trained(*callbacks):
    """Return the parameters of a network after three steps."""
    task = CertifiedClassifier(network("sll_nano"))
    trainer(*callbacks).fit(task, datamodule=Few())
    return [parameter.detach() for parameter in task.model.parameters()]


class EachBatch(DeriveOnceAStep):
    """Lets each batch derive anew."""

    def on_train_batch_start(self, *_):
        pass


class Counted:
    """How often dense layers derived T in training batches."""

    def __init__(self, monkeypatch):
        self.steps, step = 0, SLLLinear.step

        def counting(layer):
            self.steps += torch.is_grad_enabled()  # not those of the validation
            return step(layer)

        monkeypatch.setattr(SLLLinear, "step", counting)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_exact(name):
    model = network(name)
    images, target = torch.rand(3 * EACH, *model.config.input_shape, dtype=torch.float64), torch.arange(3 * EACH) % 10

    def loss(part):
        return cross_entropy(model(images[part]), target[part], reduction="sum")

    expected = torch.autograd.grad(loss(slice(None)), list(model.parameters()))
    for _ in range(2):  # a second step derives anew
        model.zero_grad()
        for start in range(0, 3 * EACH, EACH):
            begin_batch(model, last=start == 2 * EACH)
            loss(slice(start, start + EACH)).backward()
        for parameter, gradient in zip(model.parameters(), expected, strict=True):
            assert (parameter.grad - gradient).norm() <= ACCUMULATED * gradient.norm()


def test_t_is_computed_once_a_step(monkeypatch):
    counted = Counted(monkeypatch)
    ours = trained()
    assert counted.steps == 3 * SHAPE["dense_layers"]
    theirs = trained(EachBatch())
    assert counted.steps == (3 + 5) * SHAPE["dense_layers"]
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= ACCUMULATED * other.norm()


def test_evaluation_and_copies_between_batches_derive_their_own():
    model = network("sll_nano")
    images = torch.rand(EACH, *model.config.input_shape, dtype=torch.float64)
    begin_batch(model, last=False)
    model(images).sum().backward()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for layer in (*model.denses, *twin.denses):
            layer.weight.mul_(torch.linspace(1, 2, len(layer.weight), dtype=torch.float64)[:, None])
    assert torch.equal(model.eval()(images), twin.train()(images).detach())
    for _ in range(2):
        twin(images).sum().backward()
    assert twin.denses[0].log_q.grad.any()


def test_a_training_that_fails_leaves_nothing_behind():
    class Fails(Callback):
        def on_train_batch_end(self, *_):
            raise RuntimeError

    task = CertifiedClassifier(network("sll_nano"))
    with pytest.raises(RuntimeError):
        trainer(Fails()).fit(task, datamodule=Few())
    task.zero_grad()
    task.model.train()(torch.rand(EACH, *task.model.config.input_shape, dtype=torch.float64)).sum().backward()
    assert task.model.denses[0].log_q.grad.any()


def on_each(rank):  # noqa: ARG001 - the caller's signature
    return trained(), trained(EachBatch())


@pytest.mark.processes
def test_processes_exchange_the_whole_gradient(tmp_path):
    for ours, theirs in on_ranks(2, on_each, tmp_path):
        for one, other in zip(ours, theirs, strict=True):
            assert (one - other).norm() <= ACCUMULATED * other.norm()
