"""Training a network whose gradients and optimizer do not fit into the memory of every process."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from sll_zoo.compat import set_data_parallel_size
from sll_zoo.errors import ConfigError
from sll_zoo.layers import ResidualStack
from sll_zoo.layers.residual import ResidualLinear
from sll_zoo.models import LipschitzClassifier
from sll_zoo.zoo import create_model


class ShardedStrategy(ModelParallelStrategy):
    """Fully sharded data parallelism: each of N processes keeps 1/N of weights, gradients and optimizer between its steps.

    PyTorch's ``fully_shard``, on every dense residual layer, every stack of convolutions, and the rest of the network. A step
    gathers the weights once, forward, and keeps them until the gradients are taken: then nothing is gathered in a validation but
    for its first batch, and one process may have more batches than another. A checkpoint is one file, the whole network, for any
    strategy to read.

    In a configuration, ``strategy: {class_path: sll_zoo.training.strategies.ShardedStrategy}`` of the trainer.

    Raises:
        ConfigError: Another use than fitting, or a callback that averages weights, which would need the whole network.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Find the other processes."""
        set_data_parallel_size(self, self.num_nodes * self.num_processes)
        super().setup_environment()
        module = self.lightning_module
        assert module is not None  # noqa: S101 - Lightning connects it before
        _refuse(module.trainer)
        # Lightning wants the hook that shards on the module. A method of the task would be there under other strategies, too.
        hook = partial(_shard, module, self.device_mesh["data_parallel"])
        module.configure_model = hook  # type: ignore[method-assign]


def network_of(task: LightningModule) -> LipschitzClassifier:
    """Return the network of a task; if it is sharded, a copy with all weights, on the first process. All processes must ask."""
    network = cast("LipschitzClassifier", task.model)
    if not _is_sharded(network):
        return network
    weights = get_model_state_dict(network, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    whole = create_model(task.hparams["name"], **(task.hparams["model_args"] or {}))
    whole.load_state_dict(weights, strict=bool(weights), assign=True)  # the other processes have none
    return whole


def local(tensor: Tensor) -> Tensor:
    """Return this process's part of a sharded tensor; of another, all."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor, which all processes must ask for if it is sharded."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _is_sharded(network: torch.nn.Module) -> bool:
    return any(isinstance(parameter, DTensor) for parameter in network.parameters())


def _shard(task: LightningModule, mesh: DeviceMesh) -> None:
    network = cast("LipschitzClassifier", task.model)
    if not _is_sharded(network):  # by an earlier training
        for part in (*_parts(network), network):
            fully_shard(part, mesh=mesh, reshard_after_forward=False)


def _parts(network: LipschitzClassifier) -> list[torch.nn.Module]:
    # Not each convolution: a stack reads the weights of its layers, all at once.
    return [part for part in network.modules() if isinstance(part, ResidualLinear | ResidualStack)]


def _refuse(trainer: Trainer) -> None:
    if not trainer.training:
        raise ConfigError("ShardedStrategy without a training", "take strategy auto or ddp, which read its checkpoints")
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # Lightning sets it without declaring it
        if isinstance(callback, WeightAveraging):
            raise ConfigError(f"{type(callback).__name__} with ShardedStrategy", "leave it out, or train with strategy ddp")
