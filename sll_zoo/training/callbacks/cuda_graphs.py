"""Training on a GPU at its own speed: forward and backward of the network as CUDA graphs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn

from sll_zoo.errors import ConfigError
from sll_zoo.models import LipschitzClassifier


class CUDAGraphs(Callback):
    """Replays forward and backward of the network as CUDA graphs, instead of starting thousands of small kernels in each step.

    Small networks otherwise wait for the CPU: on an H200, steps of 12 to 16 layers took 45 to 75 ms without and 6 to 8 ms with
    it (batches of 256). Values and gradients are the same. Batches of another size, validation and test run as always, and so
    does a training on another device than a GPU.

    Raises:
        ConfigError: Several devices, or a layer that waits for the GPU, as the orthogonal and sandwich families do.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Capture forward and backward of a whole batch."""
        device = trainer.strategy.root_device
        if device.type != "cuda":
            return
        if not isinstance(trainer.strategy, SingleDeviceStrategy):
            raise ConfigError(f"CUDAGraphs with strategy {type(trainer.strategy).__name__}", "train on one GPU, or leave it out")
        network, data = cast("LipschitzClassifier", pl_module.model), cast("Any", trainer).datamodule
        images = torch.rand(data.batch_size, *network.config.input_shape, device=device)
        with _autocast(trainer):
            replay = _captured(network, images)

        def forward(batch: Tensor) -> Tensor:
            replayed = network.training and torch.is_grad_enabled() and batch.shape == images.shape
            logits: Tensor = (replay if replayed else network)(batch)
            return logits

        pl_module.forward = forward  # type: ignore[method-assign]

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's signature
        """Remove the graphs."""
        vars(pl_module).pop("forward", None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:  # noqa: ARG002
        """Remove the graphs."""
        self.on_train_end(trainer, pl_module)


class _Whole(nn.Module):
    """The network within a module whose ``forward`` torch may replace; that of the network stays what certificates check."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


def _captured(network: LipschitzClassifier, images: Tensor) -> Any:
    try:
        return torch.cuda.make_graphed_callables(_Whole(network), (images,))
    except RuntimeError as error:
        raise ConfigError(
            f"a network of family {network.config.family} cannot be captured ({str(error).splitlines()[0]})",
            "leave CUDAGraphs out of the callbacks",
        ) from error


def _autocast(trainer: Trainer) -> AbstractContextManager[Any]:
    """Return the trainer's autocast without its cache of weights, which a graph would keep from one step to the next."""
    with trainer.precision_plugin.forward_context():
        enabled, dtype = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    return torch.autocast("cuda", dtype=dtype, enabled=enabled, cache_enabled=False)
