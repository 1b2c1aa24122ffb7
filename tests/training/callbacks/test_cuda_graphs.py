"""CUDA graphs: what is replayed and when; that torch captures was seen on an H200, and no GPU is needed here."""

from types import SimpleNamespace

import pytest
import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

import sll_zoo
from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits
from sll_zoo.errors import ConfigError
from sll_zoo.training.callbacks import CUDAGraphs
from sll_zoo.training.callbacks.cuda_graphs import Replayed

QUIET = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}


def trained(callbacks):
    seed_everything(0)
    task = CertifiedClassifier("sll_nano.digits")
    Trainer(accelerator="cpu", max_epochs=1, limit_train_batches=2, callbacks=callbacks, **QUIET).fit(task, datamodule=Digits())
    return task.model.state_dict()


def test_a_training_without_a_gpu_is_the_same_with_it():
    alone, beside = trained([]), trained([CUDAGraphs()])
    assert all(torch.equal(alone[name], beside[name]) for name in alone)


GPU = torch.device("cuda", 0)


def on_a_gpu(strategy=None, accumulate_grad_batches=1):
    """Return what the callback asks a trainer."""
    return SimpleNamespace(strategy=strategy or SingleDeviceStrategy(GPU), accumulate_grad_batches=accumulate_grad_batches)


@pytest.mark.parametrize(
    ("trainer", "named"),
    [
        (on_a_gpu(accumulate_grad_batches=2), "accumulate_grad_batches=2"),
        (on_a_gpu(DDPStrategy(parallel_devices=[GPU])), "DDPStrategy"),
    ],
)
def test_trainings_whose_gradients_a_replay_would_spoil_are_refused(trainer, named):
    task = CertifiedClassifier("sll_nano.digits")
    with pytest.raises(ConfigError, match=named):
        CUDAGraphs().on_fit_start(trainer, task)
    assert "forward" not in vars(task)


def test_the_network_is_itself_again_after_an_interruption():
    task, graphs = CertifiedClassifier("sll_nano.digits"), CUDAGraphs()
    graphs.on_fit_start(on_a_gpu(), task)
    assert isinstance(task.forward, Replayed)
    graphs.on_exception(on_a_gpu(), task, KeyboardInterrupt())
    assert "forward" not in vars(task)


class Counted(Replayed):
    """Counts captures and replays."""

    def capture(self, images):
        self.captured, self.replayed = images.shape, 0
        return self.replay

    def replay(self, images):
        self.replayed += 1
        return self.network(images)


def test_training_batches_like_the_first_are_replayed_and_no_others():
    network = sll_zoo.create_model("sll_nano.digits")
    run, whole, part = Counted(network), torch.rand(8, 1, 8, 8), torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        run(whole)
    network.eval()
    run(whole)
    assert not hasattr(run, "captured")
    network.train()
    for images in (whole, part, torch.rand_like(whole)):
        assert torch.equal(run(images), network(images))
    assert (run.captured, run.replayed) == (whole.shape, 2)
