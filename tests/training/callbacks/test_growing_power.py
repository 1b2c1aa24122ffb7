import math

import pytest
import torch
from lightning import Callback

from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits
from sll_zoo.errors import ConfigError
from sll_zoo.layers import SortLinear
from sll_zoo.training.callbacks import GrowingPower
from tests.training.loop import EPOCH, trainer


class Watch(Callback):
    """Notes p of each layer in each step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, *_):  # noqa: ARG002 - Lightning's signature
        self.seen.append({layer.p for layer in pl_module.modules() if isinstance(layer, SortLinear)})


def small():
    return CertifiedClassifier("sortnet_nano.digits", model_args={"width": 16})


def test_p_grows_by_a_constant_factor_to_infinity_and_the_certificate_counts_in_l_infinity(tmp_path):
    power, watch, task = GrowingPower(4.0, 64.0, begin=0.25, until=0.75), Watch(), small()
    run = trainer(tmp_path, power, watch, max_epochs=2, limit_train_batches=EPOCH)
    run.fit(task, Digits())
    assert all(len(values) == 1 for values in watch.seen)
    steps = [values.pop() for values in watch.seen]
    assert steps[:3] == [4.0, 4.0, 4.0]
    assert steps[3:6] == pytest.approx([8.0, 16.0, 32.0])
    assert steps[6:] == [math.inf, math.inf]
    assert {"val/certified_acc_2", "val/certified_acc_25.5", "val/certified_acc_76.5"} <= run.callback_metrics.keys()
    assert task.radii == (2 / 255, 8 / 255, 0.1, 0.2, 0.3)
    (measured,) = run.test(task, Digits(), verbose=False)
    assert measured["test/mean_radius"] <= 1


def test_a_training_that_is_resumed_ends_with_the_same_weights(tmp_path):
    weights = []
    for name, lengths in {"whole": [3], "resumed": [1, 3]}.items():
        for place, epochs in enumerate(lengths):
            task = small()
            run = trainer(tmp_path / name, GrowingPower(), Stop(epochs), max_epochs=3, limit_train_batches=EPOCH)
            torch.manual_seed(0)
            run.fit(task, Digits(), ckpt_path="last" if place else None)
        weights.append(task.model.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


class Stop(Callback):
    """Ends a training after some epochs."""

    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):  # noqa: ARG002 - Lightning's signature
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"start": 0.5}, "p=0.5"),
        ({"start": "8"}, "p='8'"),
        ({"end": None}, "p=None"),
        ({"begin": "0"}, "between '0'"),
        ({"until": math.nan}, "and nan"),
        ({"start": 100.0, "end": 10.0}, "from 100.0 to 10.0"),
        ({"end": math.inf}, "to inf"),
        ({"end": 1e300}, "overflows"),
        ({"begin": 0.9, "until": 0.5}, "between 0.9 and 0.5"),
    ],
)
def test_schedules_that_do_not_grow_or_overflow_are_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        GrowingPower(**arguments)


def test_a_network_without_such_layers_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="GrowingPower"):
        trainer(tmp_path, GrowingPower(), max_epochs=1).fit(CertifiedClassifier("sll_nano.digits"), Digits())
