"""A training whose numbers are not finite stops, says where it began, and spoils no checkpoint."""

import math

import pytest
import torch

from sll_zoo.errors import DivergedError
from tests.training.loop import EPOCH, At, train, trainer

STEP = EPOCH + 2


class BrokenGradient(torch.autograd.Function):
    """The identity, with a gradient that is none."""

    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient * math.nan


def spoil_weight(task):
    with torch.no_grad():
        task.model.denses[1].weight[0, 0] = math.nan


def spoil_output(task):
    task.model.convs[2].register_forward_hook(lambda *args: args[-1] / 0)


def spoil_loss(task):
    task.loss.register_forward_hook(lambda *args: args[-1] * math.inf)


def spoil_gradient(task):
    task.model.convs[3].register_forward_hook(lambda *args: BrokenGradient.apply(args[-1]))


def spoil_image(task):
    task.trainer.datamodule.on_after_batch_transfer = lambda batch, _: (batch[0] * math.nan, batch[1])


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (spoil_image, "image"),
        (spoil_weight, r"output .*model.denses.1 \(SLLLinear\)"),
        (spoil_output, r"output .*model.convs.2 \(SLLConv2d\)"),
        (spoil_loss, "loss .*inf"),
        (spoil_gradient, "gradient .*model.convs.3"),
    ],
)
def test_it_stops_before_the_step_and_names_the_place(spoil, found, tmp_path):
    weights = {}

    def keep_and_spoil(task):
        spoil(task)
        weights.update({name: value.clone() for name, value in task.model.state_dict().items()})

    run = trainer(tmp_path, At(STEP, keep_and_spoil))
    with pytest.raises(DivergedError, match=rf"{found}.* \(epoch 1, step {STEP}\)"):
        train(run)
    torch.testing.assert_close(run.lightning_module.model.state_dict(), weights, rtol=0, atol=0, equal_nan=True)
    assert torch.load(tmp_path / "last.ckpt")["global_step"] == EPOCH


def test_weights_that_are_not_finite_replace_no_checkpoint(tmp_path):
    with pytest.raises(DivergedError, match=f"model.denses.1.weight .*step {2 * EPOCH}"):
        train(trainer(tmp_path, At(2 * EPOCH, spoil_weight)))
    assert torch.load(tmp_path / "last.ckpt")["global_step"] == EPOCH
