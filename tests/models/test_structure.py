"""What a network must be to have constants: a chain of layers of known kinds, on every road to a radius."""

import time
from dataclasses import replace

import pytest
import torch
from torch import nn

import sll_zoo
from sll_zoo.data import Digits
from sll_zoo.errors import ConfigError, WeightsError
from sll_zoo.layers import FoldedLinearForm
from sll_zoo.metrics import CertifiedAccuracy
from sll_zoo.models import LipNet, build
from sll_zoo.models.structure import faults
from sll_zoo.zoo.entries import ARCHITECTURES
from tests.plants import Longer, network

LABELS = torch.tensor([0, 1])
ROADS = {
    "certify": lambda net, images: sll_zoo.certify(net, images),
    "certify, sound": lambda net, images: sll_zoo.certify(net, images, sound=True),
    "freeze": lambda net, _: sll_zoo.freeze(net),
    "fold": lambda net, _: sll_zoo.fold(net),
    "evaluate": lambda net, images: sll_zoo.evaluate(net, [(images, torch.zeros(len(images), dtype=torch.long))]),
    "attack": lambda net, images: sll_zoo.attack(
        net, images, torch.zeros(len(images), dtype=torch.long), [0.1], steps=1, restarts=1
    ),
    "a metric": lambda net, _: CertifiedAccuracy([0.1]).update(torch.eye(2, 10), LABELS, net.pairwise_lipschitz()),
    "export": lambda net, _: sll_zoo.export(net, "outputs/never.onnx"),
}


def _ten_times(net):
    kind = type(net)
    net.__class__ = type("Loud", (kind,), {"forward": lambda self, x: 10 * kind.forward(self, x)})


def _weights_elsewhere(net):
    weight = net.denses[0].weight.detach()
    del net.denses[0].weight
    net.denses[0].weight = weight


def _child_by_hand(net):
    pool = net.pool
    del net.pool
    net.pool = lambda x: 10 * pool(x)


def _shadowed_child(net):
    vars(net)["pool"] = nn.Sequential(net.pool, nn.Hardshrink())


def _head_in_the_body(net):
    net.reset_classifier(net.num_features)
    net.denses.append(net.head)


def _flat_kernel(net):
    net.convs[0].weight = nn.Parameter(torch.randn(3, 4, 3, 1))


EDITS = {
    r"\(LipNet\): .*pool .*hand": _child_by_hand,
    r"\(LipNet\): .*pool .*neither": _shadowed_child,
    r"denses\.2 \(UnitRowsLinear\)": _head_in_the_body,
    r"convs\.0 \(SLLConv2d\): .*settings": _flat_kernel,
    r"convs\.1 \(SLLConv2d\): .*settings": lambda net: setattr(net.convs[1], "power", 3),
    r"denses\.2 \(BatchNorm1d\)": lambda net: net.denses.append(nn.BatchNorm1d(net.num_features)),
    r"convs\.0 \(Conv2d\)": lambda net: net.convs.__setitem__(0, nn.Conv2d(4, 4, 3, padding=1)),
    r"\(Loud\): .*forward": _ten_times,
    r"denses\.1 \(SLLLinear\): .*hook": lambda net: net.denses[1].register_forward_hook(lambda _, __, y: 10 * y),
    r"denses\.1 \(SLLLinear\): .*step .*hand": lambda net: setattr(net.denses[1], "step", lambda: torch.ones(5)),
    r"\(LipNet\): .*forward .*hand": lambda net: setattr(net, "forward", net.forward_features),
    r"denses\.0 \(SLLLinear\): .*weight .*neither": _weights_elsewhere,
    r"pool \(NormOneAvgPool2d\): .*settings": lambda net: setattr(net.pool, "divisor_override", 1),
    r"head \(Linear\): ": lambda net: setattr(net, "head", nn.Linear(16, 10)),
}


@pytest.mark.parametrize("changes", [{}, {"kernel_size": 1, "num_classes": 0}])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_configuration_gives_a_network_that_is_refused(name, changes):
    """So that a stranger's config.json need not be examined when it is loaded."""
    config = ARCHITECTURES[name]
    with torch.device("meta"):
        assert list(faults(build(replace(config, **{key: changes[key] for key in changes if hasattr(config, key)})))) == []


@pytest.mark.parametrize("message", EDITS)
@pytest.mark.parametrize("road", ROADS)
def test_no_road_leads_an_edited_network_to_a_radius(road, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = network().eval()
    EDITS[message](net)
    with pytest.raises(ConfigError, match=message):
        ROADS[road](net.eval(), torch.rand(2, 3, 8, 8))


def test_a_hook_on_all_modules_is_refused():
    frozen = sll_zoo.freeze(network())
    handle = nn.modules.module.register_module_forward_hook(lambda _, __, y: y)
    try:
        with pytest.raises(ConfigError, match=r"all .*hook"):
            sll_zoo.certify(network().eval(), torch.rand(2, 3, 8, 8))
        with pytest.raises(ConfigError, match=r"all .*hook"):
            sll_zoo.certify(frozen, torch.rand(2, 3, 8, 8))
    finally:
        handle.remove()


def test_a_folded_layer_made_by_hand_is_refused():
    net = network().eval()
    net.denses.append(FoldedLinearForm(10 * torch.eye(16, dtype=torch.float64), None, "zeros"))
    with pytest.raises(WeightsError, match=r"denses\.2 \(FoldedLinearForm\)"):
        sll_zoo.certify(net, torch.rand(2, 3, 8, 8))


class Shortcut(Longer):
    def body(self, x):
        return self.last(LipNet.body(self, x)) + LipNet.body(self, x)


class Twice(LipNet):
    def body(self, x):
        return self.head(super().body(x)).new_zeros(len(x), self.num_features)


class Counting(LipNet):
    def body(self, x):
        return super().body(x * len(x))


class Blind(LipNet):
    def require_structure(self):
        pass

    def forward(self, x):
        return 10 * super().forward(x)


def test_a_subclass_that_looks_away_is_refused():
    with pytest.raises(ConfigError, match=r"\(Blind\): .*forward"):
        sll_zoo.certify(Blind(network().config).eval(), torch.rand(2, 3, 8, 8))


def test_a_subclass_is_followed_through_its_body():
    images = torch.rand(2, 3, 8, 8)
    assert (sll_zoo.certify(Longer(network().config).eval(), images).radius > 0).all()
    for kind in (Shortcut, Twice, Counting):
        with pytest.raises(ConfigError, match=rf"\({kind.__name__}\): (downsample|head) "):
            sll_zoo.certify(kind(network().config).eval(), images)


@pytest.mark.slow
def test_looking_at_a_network_takes_under_a_hundredth_of_its_certificate():
    net, images = sll_zoo.create_model("sll_small").eval(), torch.rand(64, 3, 32, 32)
    start = time.perf_counter()
    sll_zoo.certify(net, images)
    whole, looks = time.perf_counter() - start, []
    for _ in range(5):
        start = time.perf_counter()
        net.require_structure()
        looks.append(time.perf_counter() - start)
    assert min(looks) < whole / 100


def _normalised(batch):
    images, labels = batch
    return (images - 0.3) / 0.3, labels


class Normalised(Digits):
    """Images as most libraries prepare them, which no radius in pixels is about."""

    def __init__(self, broken=_normalised):
        super().__init__()
        self.broken = broken

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return self.broken(super().on_after_batch_transfer(batch, dataloader_idx))


BROKEN = {
    r"-1\.0 to 2\.33": _normalised,
    r"0\.0 to 255": lambda batch: (255 * batch[0], batch[1]),
    "NaN": lambda batch: (batch[0].log() * 0, batch[1]),
}


@pytest.mark.parametrize("message", BROKEN)
@pytest.mark.parametrize("road", ["validate", "test", "predict", "fit"])
def test_no_road_of_a_trainer_takes_images_in_other_units(road, message, tmp_path):
    from lightning import Trainer

    task = sll_zoo.CertifiedClassifier("sll_nano.digits", pretrained=True)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", num_sanity_val_steps=0, limit_train_batches=2, default_root_dir=tmp_path, **quiet
    )
    with pytest.raises(sll_zoo.errors.InputError, match=message):
        getattr(trainer, road)(task, datamodule=Normalised(BROKEN[message]))
    assert trainer.global_step == 0
