"""A network is trained by Lightning's own sharding, and its checkpoint is a network like any other.

``ModelParallelStrategy`` (FSDP2), for Lightning refuses ``FSDPStrategy`` without a GPU.
"""

import re
from functools import partial

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from sll_zoo import CertifiedClassifier, certify, create_model
from sll_zoo.errors import ConfigError
from sll_zoo.training.callbacks import (
    BFloat16Rescaling,
    FiniteWatch,
    LogDiagnostics,
    ResumableCheckpoint,
    SavePretrained,
    SeededBatches,
    ShardRescaling,
)
from sll_zoo.training.strategies import WITHOUT
from tests.processes import on_ranks
from tests.training.test_sharding import SHAPE, Dealt

pytestmark = pytest.mark.processes

WORLD = 2
REFUSED = ("SavePretrained", "FiniteWatch", "LogDiagnostics", "ShardRescaling")


class Sharded(CertifiedClassifier):
    """The task as the guide says."""

    def configure_model(self):
        fully_shard(self.model, mesh=self.device_mesh["data_parallel"])


class Named(Dealt):
    """The same images, to test on as well."""

    def test_dataloader(self):
        return self.val_dataloader()


def trainer(folder, *callbacks, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    ours = [SeededBatches(), ResumableCheckpoint(str(folder))]
    return Trainer(accelerator="cpu", max_epochs=2, callbacks=[*ours, *callbacks], **quiet, **options)


def sharded_trainer(folder, *callbacks):
    strategy = ModelParallelStrategy(data_parallel_size=WORLD, tensor_parallel_size=1, save_distributed_checkpoint=False)
    return trainer(folder, *callbacks, strategy=strategy, devices=WORLD)


def fresh(kind):
    torch.manual_seed(0)
    return kind("sll_nano", model_args=SHAPE).double()


def fit(rank, folder):  # noqa: ARG001 - as on_ranks calls it
    """Train, with T in bfloat16 as well; return which parameters are sharded, and what is refused."""
    task = fresh(Sharded)
    sharded_trainer(folder).fit(task, datamodule=Named())
    sharded_trainer(folder / "half", BFloat16Rescaling()).fit(fresh(Sharded), datamodule=Named())
    refused = [SavePretrained(str(folder / "export")), FiniteWatch(), LogDiagnostics(), ShardRescaling()]
    runs = [partial(sharded_trainer(folder / "refused", callback).fit, fresh(Sharded), Named()) for callback in refused]
    runs.append(partial(sharded_trainer(folder / "refused").test, fresh(Sharded), Named()))
    return [isinstance(parameter, DTensor) for parameter in task.model.parameters()], [refusal(run) for run in runs]


def refusal(run):
    with pytest.raises(ConfigError) as refused:
        run()
    return str(refused.value)


def test_a_sharded_network_trains_as_a_whole_one_and_its_checkpoint_certifies(tmp_path):
    task = fresh(CertifiedClassifier)
    trainer(tmp_path / "whole").fit(task, datamodule=Named())
    for are_parts, refusals in on_ranks(WORLD, fit, tmp_path, tmp_path):
        assert all(are_parts)
        assert refusals[:-1] == [f"{name} with ModelParallelStrategy: {WITHOUT}" for name in REFUSED]
        assert re.match("Sharded .*ModelParallelStrategy: .*ddp", refusals[-1])
    sharded, whole = (torch.load(folder / "last.ckpt", weights_only=True) for folder in (tmp_path, tmp_path / "whole"))
    torch.testing.assert_close(sharded["state_dict"], whole["state_dict"], rtol=0, atol=1e-9)
    images, model = torch.rand(3, 1, 8, 8), create_model(f"ckpt:{tmp_path / 'last.ckpt'}", pretrained=True).eval()
    expected = certify(task.float().model.eval(), images)
    assert (expected.radius > 1e-3).all()
    torch.testing.assert_close(certify(model, images).radius, expected.radius, rtol=0, atol=1e-6)
