"""Two processes that each keep half of the weights train as one does, go on from its checkpoint, and export the whole."""

from functools import partial

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.optim.lr_scheduler import LambdaLR

from sll_zoo import CertifiedClassifier, create_model, quantize
from sll_zoo.errors import ConfigError
from sll_zoo.layers import SLLConv2d, SLLLinear
from sll_zoo.training.callbacks import (
    ExportModel,
    FiniteWatch,
    LogDiagnostics,
    ResumableCheckpoint,
    SeededBatches,
    ShardRescaling,
)
from sll_zoo.training.strategies import ShardedStrategy
from tests.processes import on_ranks
from tests.training.test_sharding import SHAPE, Dealt

pytestmark = pytest.mark.processes

WORLD = 2
# Logged by each process of its own images.
LOCAL = ("train/loss", "train/loss_step")


class Named(Dealt):
    """The same with what an export asks for."""

    name, class_names = "digits", tuple("0123456789")

    def test_dataloader(self):
        return self.val_dataloader()


def trainer(folder, *callbacks, **options):
    world = distributed.get_world_size() if distributed.is_initialized() else 1
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    strategy = ShardedStrategy() if world > 1 else "auto"
    options = {"accelerator": "cpu", "devices": world, "strategy": strategy, **quiet, **options}
    ours = [SeededBatches(), FiniteWatch(), LogDiagnostics(), ResumableCheckpoint(str(folder))]
    return Trainer(callbacks=[*ours, *callbacks], gradient_clip_val=0.5, log_every_n_steps=1, **options)


def constant(optimizer, steps):  # noqa: ARG001 - of any length
    return LambdaLR(optimizer, lambda step: 1.0)  # noqa: ARG005


def fresh():
    torch.manual_seed(0)
    return CertifiedClassifier("sll_nano", model_args=SHAPE, scheduler=constant).double()


def train(run, last=False):
    task = fresh()
    run.fit(task, datamodule=Named(), ckpt_path="last" if last else None)
    return task


def weights_of(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]


def fit(rank, folder):  # noqa: ARG001 - as on_ranks calls it
    """Train for one epoch and go on for another, which an export follows; return what can be compared with one process."""
    train(trainer(folder, max_epochs=1))
    run = trainer(folder, ExportModel(str(folder / "export"), bits=8), ShardRescaling(), max_epochs=2)
    task = train(run, last=True)
    parts = sum(isinstance(parameter, DTensor) for parameter in task.model.parameters())
    refused = [refusal(lambda: run.test(task, Named())), refusal(lambda: train(trainer(folder / "ema", EMAWeightAveraging())))]
    return parts, refused, metrics(run), train_by_hand()


def refusal(what):
    with pytest.raises(ConfigError) as refused:
        what()
    return str(refused.value)


def metrics(run):
    return {name: float(value) for name, value in run.callback_metrics.items() if name not in LOCAL}


def train_by_hand():
    """Return the weights that PyTorch's own loop gives with every layer sharded, and those without."""
    results = []
    for shard in (partial(fully_shard, mesh=init_device_mesh("cpu", (WORLD,))), lambda layer: layer):
        torch.manual_seed(0)
        network = create_model("sll_nano", **{**SHAPE, "conv_layers": 2}).double()
        for layer in [layer for layer in network.modules() if isinstance(layer, SLLLinear | SLLConv2d)]:
            shard(layer)
        shard(network)
        network(torch.rand(3, 1, 8, 8, dtype=torch.float64)).square().mean().backward()
        found = [parameter.grad for parameter in network.parameters()]
        results.append([g.full_tensor() if isinstance(g, DTensor) else g for g in found])
    return results


def test_processes_with_half_of_the_weights_train_as_one_with_all(tmp_path):
    alone, run = tmp_path / "alone", trainer(tmp_path / "alone", max_epochs=2)
    task = train(run)
    expected = metrics(run)
    for parts, refused, found, (sharded, whole) in on_ranks(WORLD, fit, tmp_path, tmp_path):
        assert parts == len(list(task.model.parameters()))
        assert refused == [
            "ShardedStrategy without a training: take strategy auto or ddp, which read its checkpoints",
            "EMAWeightAveraging with ShardedStrategy: leave it out, or train with strategy ddp",
        ]
        assert found == pytest.approx(expected, abs=1e-9)
        torch.testing.assert_close(sharded, whole, rtol=0, atol=1e-12)
    torch.testing.assert_close(weights_of(tmp_path), weights_of(alone), rtol=0, atol=1e-9)
    task.load_state_dict(weights_of(alone))
    exported = create_model(f"local-dir:{tmp_path / 'export'}", pretrained=True)
    torch.testing.assert_close(exported.state_dict(), quantize(task.model.float(), 8).state_dict(), rtol=0, atol=1e-7)
