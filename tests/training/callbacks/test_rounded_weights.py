"""Trainings that see rounded weights: what a step sees, what the optimizer moves, and what is kept."""

import pytest
import torch
from lightning import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch.optim import SGD

import sll_zoo
from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits
from sll_zoo.errors import ConfigError
from sll_zoo.training.callbacks import ResumableCheckpoint, RoundedWeights
from sll_zoo.zoo.weights.packing import BITS, rounded, widths
from tests import tolerances as tol

QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def rounded_state(model, bits):
    return sll_zoo.quantize(model, bits).state_dict()


@pytest.mark.parametrize("bits", BITS)
def test_a_weight_is_rounded_as_in_a_file(bits, pretrained):
    state = pretrained.state_dict()
    exact = {key: value + 1e-3 * torch.randn_like(value) for key, value in state.items()}
    pretrained.load_state_dict(exact)
    in_a_file = rounded_state(pretrained, bits)
    for key, width in widths(exact, bits).items():
        assert torch.equal(rounded(exact[key], width), in_a_file[key])


class Look(Callback):
    """Note the weights at the moments of a training."""

    def __init__(self):
        self.seen = {}

    def note(self, moment, task):
        self.seen.setdefault(moment, []).append({key: value.clone() for key, value in task.model.state_dict().items()})

    def on_train_start(self, trainer, pl_module):  # noqa: ARG002
        self.note("start", pl_module)

    def on_before_backward(self, trainer, pl_module, loss):  # noqa: ARG002
        self.note("forward", pl_module)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):  # noqa: ARG002
        self.batch = batch

    def on_train_batch_end(self, trainer, pl_module, *_):  # noqa: ARG002
        self.note("end", pl_module)

    def on_validation_epoch_end(self, trainer, pl_module):  # noqa: ARG002
        self.note("validation", pl_module)


def equal(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


def run(*callbacks, **options):
    seed_everything(0)
    task = CertifiedClassifier("sll_nano.digits", optimizer=lambda parameters: SGD(parameters, lr=0.5))
    default = {"accelerator": "cpu", "max_epochs": 1, "limit_train_batches": 2, "enable_checkpointing": False, **QUIET}
    Trainer(**default | options, callbacks=list(callbacks)).fit(task, datamodule=Digits())
    return task


def as_rounded(state, bits=4):
    model = sll_zoo.create_model("sll_nano.digits")
    model.load_state_dict(state)
    return rounded_state(model, bits)


def test_steps_and_validation_see_rounded_weights_and_the_optimizer_moves_the_exact_ones():
    look = Look()
    task = run(RoundedWeights(4), look)
    start, first, second = look.seen["start"][0], *look.seen["end"]
    assert not equal(start, first)
    assert not equal(first, second)
    for exact, seen in (
        (start, look.seen["forward"][0]),
        (first, look.seen["forward"][1]),
        (second, look.seen["validation"][-1]),
    ):
        assert equal(as_rounded(exact), seen)
        assert not equal(exact, seen)
    assert equal(second, task.model.state_dict())


def test_the_gradient_is_that_at_the_rounded_weights():
    look = Look()
    run(RoundedWeights(4), look, limit_train_batches=1)
    moved = {key: value - look.seen["start"][0][key] for key, value in look.seen["end"][0].items()}
    task = CertifiedClassifier("sll_nano.digits").train()
    task.model.load_state_dict(look.seen["forward"][0])
    images, labels = look.batch
    task.loss(task.model(images), labels).backward()
    for name, parameter in task.model.named_parameters():
        assert torch.cosine_similarity(moved[name].flatten(), -parameter.grad.flatten(), dim=0) > 1 - tol.FLOAT32


def test_gradients_that_accumulate_are_those_of_the_same_rounded_weights():
    look = Look()
    run(RoundedWeights(4), look, limit_train_batches=4, accumulate_grad_batches=2)
    first, second, third, fourth = look.seen["forward"]
    assert equal(first, second)
    assert equal(third, fourth)
    assert not equal(second, third)
    assert equal(look.seen["start"][0], look.seen["end"][0])


def test_a_checkpoint_and_an_interruption_leave_the_exact_weights(tmp_path):
    look = Look()
    run(RoundedWeights(4), look, ResumableCheckpoint(str(tmp_path)), enable_checkpointing=True)
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(kept[f"model.{key}"], value) for key, value in look.seen["end"][-1].items())

    class Stop(Look):
        def on_before_backward(self, trainer, pl_module, loss):  # noqa: ARG002
            raise RuntimeError("stopped")

    look = Stop()
    task = CertifiedClassifier("sll_nano.digits")
    start = {key: value.clone() for key, value in task.model.state_dict().items()}
    trainer = Trainer(accelerator="cpu", max_epochs=1, enable_checkpointing=False, callbacks=[RoundedWeights(4), look], **QUIET)
    with pytest.raises(RuntimeError, match="stopped"):
        trainer.fit(task, datamodule=Digits())
    assert all(torch.equal(value, task.model.state_dict()[key]) for key, value in start.items() if "mean" not in key)


def test_what_no_step_would_see_is_refused():
    with pytest.raises(ConfigError, match="bits=5"):
        RoundedWeights(5)
    with pytest.raises(ConfigError, match="EMAWeightAveraging"):
        run(RoundedWeights(4), EMAWeightAveraging())
