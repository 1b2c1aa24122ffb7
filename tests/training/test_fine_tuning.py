import copy

import pytest
import torch
from lightning import Trainer

import sll_zoo
from sll_zoo import CertifiedClassifier, OffsetCrossEntropy
from sll_zoo.data import Digits
from sll_zoo.errors import ConfigError, UntrainedHeadWarning
from sll_zoo.training.optimizers import parameter_groups


class ThreeDigits(Digits):
    """0, 1 and 2 alone."""

    class_names = tuple("012")

    def read(self, train):
        parts = super().read(train).items()
        return {name: part.select((part.labels < 3).nonzero().squeeze(1).tolist()) for name, part in parts}


def fit(task, epochs=3):
    options = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=epochs, enable_model_summary=False, **options)
    trainer.fit(task, datamodule=ThreeDigits())
    return trainer


def three_classes(**options):
    with pytest.warns(UntrainedHeadWarning):
        return CertifiedClassifier(
            "sll_nano.digits",
            pretrained=True,
            model_args={"num_classes": 3},
            loss=OffsetCrossEntropy(0.4),
            optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.01),
            **options,
        )


def test_a_frozen_body_stays_as_it_is_and_its_new_head_is_certified():
    task = three_classes(head_only=True)
    before = copy.deepcopy(task.model.state_dict())
    trainer = fit(task, epochs=10)
    after = task.model.state_dict()
    assert {name for name in before if not torch.equal(before[name], after[name])} == {"head.weight", "head.bias"}
    assert trainer.callback_metrics["val/certified_acc_36"] > 0.9
    data = ThreeDigits()
    images, labels = data.tensors("test")
    found = sll_zoo.attack(task.model.eval(), images[:20], labels[:20], steps=20, restarts=1)
    assert not found.violations.any()
    assert sll_zoo.audit(task.model).problems == []


def test_fine_tuning_moves_the_lower_layers_less():
    def moved(**options):
        torch.manual_seed(0)
        task = three_classes(**options)
        before = copy.deepcopy(task.model.state_dict())
        fit(task, epochs=1)
        after = task.model.state_dict()
        return [(after[name] - before[name]).norm().item() for name in ("denses.0.weight", "denses.2.weight")]

    (first, last), (first_decayed, last_decayed) = moved(), moved(layer_decay=0.5)
    assert first_decayed / last_decayed < 0.5 * first / last


@pytest.mark.parametrize("name", ["sll_nano", "aol_nano", "sandwich_nano", "orthogonal_nano"])
def test_every_parameter_is_in_one_group_with_the_rate_of_its_depth(name):
    model = sll_zoo.create_model(name)
    rates = {id(parameter): group["lr_factor"] for group in parameter_groups(model, 0.5) for parameter in group["params"]}
    names = dict(model.named_parameters())
    assert sum(len(group["params"]) for group in parameter_groups(model, 0.5)) == len(names)
    assert rates.keys() == {id(parameter) for parameter in names.values()}
    assert rates[id(names["head.weight"])] == rates[id(names["head.bias"])] == 1
    layers = [f"denses.{index}" for index in range(3)] + [f"convs.{index}" for index in range(4)]
    order = [next(rates[id(value)] for key, value in names.items() if key.startswith(layer)) for layer in layers]
    assert order == [0.5**3, 0.5**2, 0.5, 0.5**7, 0.5**6, 0.5**5, 0.5**4]


def test_weight_decay_spares_what_the_model_exempts():
    model = sll_zoo.create_model("sll_nano")
    spared = {id(parameter) for group in parameter_groups(model) if "weight_decay" in group for parameter in group["params"]}
    assert spared == {id(parameter) for name, parameter in model.named_parameters() if name.endswith("log_q")}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"head_only": True}, "head_only"),
        ({"layer_decay": 0.0}, "layer_decay=0"),
        ({"layer_decay": 1.5}, "layer_decay=1.5"),
        ({"pretrained": True, "model_args": {"img_size": 16}}, r"sll_nano.digits .*\(1, 8, 8\)"),
    ],
)
def test_what_cannot_be_fine_tuned_is_refused_before_the_training(options, words):
    with pytest.raises(ConfigError, match=words):
        CertifiedClassifier("sll_nano.digits", **options)
