"""Stages that are not possible are refused before any work."""

import signal

import pytest
from lightning.pytorch.callbacks import EMAWeightAveraging

from sll_zoo import CertifiedClassifier
from sll_zoo.errors import CheckpointError, ConfigError, UnknownNameError
from sll_zoo.training.callbacks import CUDAGraphs, Grow, Interrupted, Stage
from tests.training.loop import signal_at
from tests.training.staged import Seen, train, trainer


@pytest.mark.parametrize(
    ("stages", "callbacks", "options", "words"),
    [
        ((Stage(1), Stage(1)), (), {"max_epochs": 3}, "max_epochs=2"),
        ((Stage(1), Stage(1)), (), {"max_steps": 3}, "max_steps"),
        ((Stage(1), Stage(1, model_args={"width": 4})), (), {}, "width=8 to 4"),
        ((Stage(1), Stage(1, name="aol_nano")), (), {}, "family"),
        ((Stage(1), Stage(1)), (EMAWeightAveraging(),), {}, "EMAWeightAveraging"),
        ((Stage(1), Stage(1)), (CUDAGraphs(),), {}, "CUDAGraphs"),
    ],
)
def test_stages_that_are_not_possible_are_refused_before_any_work(stages, callbacks, options, words, tmp_path):
    seen = Seen()
    with pytest.raises(ConfigError, match=words):
        train(trainer(tmp_path, *callbacks, seen, stages=stages, **options))
    assert not seen.steps


def test_a_name_that_does_not_exist_is_refused_before_any_work(tmp_path):
    with pytest.raises(UnknownNameError, match="sll_nan0"):
        train(trainer(tmp_path, stages=[Stage(1), Stage(1, name="sll_nan0")]))


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"epochs": "2"}, {"batch_size": 0}, {"batch_size": -3}, {"lr": 0.0}, {"lr": -1.0}]
)
def test_a_stage_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Stage(**{"epochs": 1} | wrong)


@pytest.mark.parametrize("stages", [[], [{"epochs": 1}], [Stage(1, name="sll_nano")], [Stage(1, model_args={"width": 9})]])
def test_stages_that_make_no_sense_are_refused(stages):
    with pytest.raises(ConfigError):
        Grow(stages)


def test_weights_that_are_not_trained_cannot_grow(tmp_path):
    with pytest.raises(ConfigError, match="head_only"):
        train(trainer(tmp_path), CertifiedClassifier("sll_nano.digits", pretrained=True, head_only=True))


def test_a_checkpoint_of_other_stages_is_refused(tmp_path):
    with pytest.raises(Interrupted):
        train(trainer(tmp_path, signal_at(1, signal.SIGTERM)))
    with pytest.raises(CheckpointError, match="stages"):
        train(trainer(tmp_path, stages=[Stage(2), Stage(2, model_args={"width": 12})]), last=True)
