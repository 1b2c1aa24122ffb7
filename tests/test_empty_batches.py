"""A batch of no images, through all that takes a batch: one of several processes may have no more. Of layers, law 8 says so."""

from dataclasses import replace

import pytest
import torch
from lightning import LightningDataModule, Trainer
from torch.utils.data import DataLoader

import sll_zoo
from sll_zoo import metrics
from sll_zoo.errors import InputError
from sll_zoo.layers import FAMILIES
from sll_zoo.models import LipConvNetConfig, build
from sll_zoo.zoo.entries import ARCHITECTURES

QUIET = {"logger": False, "enable_progress_bar": False, "enable_checkpointing": False, "enable_model_summary": False}
# Sizes of the zoo that differ in more than width and depth, which are made small here.
SHAPES = {
    "nano": {"conv_layers": 2, "dense_layers": 1, "img_size": (4, 6)},
    "tiny": {"conv_layers": 2, "dense_layers": 1, "img_size": (8, 4)},
    "small": {"conv_layers": 2, "dense_layers": 1, "img_size": (8, 4)},
    "convnet_xs": {"blocks": 2, "block_layers": 1, "img_size": (8, 4)},
}


def network(family, size="nano"):
    """Return a network of the structure of a named one, as thin as it can be."""
    config = ARCHITECTURES[f"{family}_{size}"]
    inner = {} if isinstance(config, LipConvNetConfig) else {"conv_inner": 1, "dense_inner": 1}
    width = config.least_width + (config.in_chans % 2 if not inner else 0)
    return build(replace(config, width=width, **inner, **SHAPES[size])).eval()


def nothing(model, dtype=torch.float32):
    return torch.zeros(0, *model.config.input_shape, dtype=dtype)


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_network_takes_no_images_and_derives_them(family, size):
    model = network(family, size)
    images = nothing(model).requires_grad_()
    logits = model(images)
    assert (logits.shape, logits.dtype) == ((0, 10), torch.float32)
    logits.sum().backward()
    assert images.grad.shape == images.shape
    assert not any(parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_no_images_have_a_certificate_folded_or_frozen_too(family, size):
    model = network(family, size)
    for form in (model, sll_zoo.fold(model, torch.float64), sll_zoo.freeze(model)):
        certificate = sll_zoo.certify(form, nothing(model))
        assert len(certificate.prediction) == len(certificate.radius) == len(certificate.slack) == 0


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize("family", ["sll", "orthogonal", "sandwich"])
def test_an_empty_batch_among_others_changes_no_evaluation(family, sound):
    model = network(family, "tiny")
    images, labels = torch.rand(4, *model.config.input_shape), torch.arange(4)
    parts = [slice(0, 0), slice(0, 3), slice(3, 3), slice(3, 4)]
    found = [sll_zoo.evaluate(model, [(images[at], labels[at]) for at in cut], sound=sound) for cut in (parts, parts[1::2])]
    assert torch.equal(*(evaluation.radius for evaluation in found))
    assert found[0].counts == found[1].counts


def test_where_there_is_no_image_at_all_it_is_refused():
    model, labels = network("orthogonal"), torch.zeros(0, dtype=torch.long)
    with pytest.raises(InputError, match="no images"):
        sll_zoo.evaluate(model, [(nothing(model), labels)])
    with pytest.raises(InputError, match="no images"):
        sll_zoo.attack(model, nothing(model), labels)


class Parts(LightningDataModule):
    """Images in batches of three, none, and one."""

    def __init__(self, images, labels):
        super().__init__()
        self.batches = [(images[at], labels[at]) for at in (slice(0, 3), slice(3, 3), slice(3, 4))]

    def val_dataloader(self):
        return DataLoader(self.batches, batch_size=None)

    test_dataloader = predict_dataloader = val_dataloader


@pytest.mark.filterwarnings("ignore:Trying to infer the `batch_size`:UserWarning")
@pytest.mark.parametrize("family", ["sll", "orthogonal", "sandwich"])
def test_lightning_validates_tests_and_predicts_around_an_empty_batch(family):
    task = sll_zoo.CertifiedClassifier(f"{family}_tiny", model_args={"width": 12, "conv_inner": 1, **SHAPES["tiny"]})
    images, labels = torch.rand(4, 3, 8, 4), torch.arange(4)
    trainer, data = Trainer(accelerator="cpu", **QUIET), Parts(images, labels)
    expected = sll_zoo.evaluate(task.model.eval(), [(images, labels)])
    for run, stage in ((trainer.validate, "val"), (trainer.test, "test")):
        (logged,) = run(task, data, verbose=False)
        assert logged[f"{stage}/acc"] == pytest.approx(expected.clean)
        assert logged[f"{stage}/mean_radius"] == pytest.approx(expected.mean_radius, rel=1e-4)
    found = trainer.predict(task, data)
    assert [len(batch["radius"]) for batch in found] == [3, 0, 1]
    torch.testing.assert_close(torch.cat([batch["radius"] for batch in found]), expected.proved)


@pytest.mark.parametrize("kind", [metrics.CertifiedAccuracy, metrics.MeanCertifiedRadius, metrics.CertifiedAccuracyCurve])
def test_an_empty_batch_adds_nothing_to_a_metric(kind):
    metric, logits, target = kind(), torch.rand(4, 3), torch.tensor([0, 1, 2, 0])
    metric.update(logits, target, 1.0)
    before = metric.compute()
    metric.update(logits[:0], target[:0], 1.0)
    torch.testing.assert_close(metric.compute(), before, rtol=0, atol=0)
