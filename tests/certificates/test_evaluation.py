import re

import pytest
import torch

import sll_zoo
from sll_zoo.errors import ConfigError, InputError, WeightsError
from sll_zoo.layers import UnitRowsLinear


def test_evaluate_counts_what_certify_says(pretrained, digits):
    images, labels = digits.tensors("test")
    evaluation = sll_zoo.evaluate(pretrained, digits.test_dataloader(), [0.1, 0.5])
    certificate = sll_zoo.certify(pretrained, images)
    correct = certificate.prediction == labels
    assert evaluation.n == 400
    assert evaluation.clean == correct.double().mean().item()
    assert evaluation.counts == {eps: (correct & (certificate.radius > eps)).sum().item() for eps in (0.1, 0.5)}
    assert evaluation.certified == {eps: (correct & (certificate.radius > eps)).double().mean().item() for eps in (0.1, 0.5)}


def test_evaluate_keeps_what_is_known_of_each_image(pretrained, digits):
    images, labels = digits.tensors("test")
    evaluation = sll_zoo.evaluate(pretrained, digits.test_dataloader())
    certificate = sll_zoo.certify(pretrained, images)
    assert torch.equal(evaluation.label, labels)
    assert torch.equal(evaluation.prediction, certificate.prediction)
    torch.testing.assert_close(evaluation.proved, certificate.radius, rtol=0, atol=1e-12)
    assert evaluation.proved.dtype == evaluation.slack.dtype == torch.float64
    assert not evaluation.slack.any()
    wrong = ~evaluation.correct
    assert 0 < wrong.sum() < 8
    assert not evaluation.radius[wrong].any()
    assert evaluation.proved[wrong].all()
    assert evaluation.mean_radius == pytest.approx(evaluation.proved[evaluation.correct].sum().item() / 400)


def test_constants_are_not_computed_for_each_batch(pretrained, digits, monkeypatch):
    calls, compute = [], UnitRowsLinear.pairwise_lipschitz
    monkeypatch.setattr(UnitRowsLinear, "pairwise_lipschitz", lambda head: calls.append(head) or compute(head))
    images, labels = digits.tensors("test")
    sll_zoo.evaluate(pretrained, [(images[start : start + 5], labels[start : start + 5]) for start in range(0, 50, 5)])
    assert len(calls) == 2  # before and after


@pytest.mark.parametrize("sound", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda network: network.stages[-1].step.mul_(3),
        lambda network: network.head.register_forward_hook(lambda *_: 100 * _[-1]),
        lambda network: network.head.weight[0].copy_(network.head.weight[1]),
    ],
    ids=["layer", "hook", "head"],
)
def test_a_network_that_is_changed_between_batches_is_refused(pretrained, digits, change, sound):
    images, labels = digits.tensors("test")
    network = sll_zoo.freeze(pretrained) if sound else sll_zoo.fold(pretrained, torch.float64)

    def batches():
        yield images[:5], labels[:5]
        with torch.no_grad():
            change(network.network if sound else network)
        yield images[5:9], labels[5:9]

    with pytest.raises((ConfigError, WeightsError)):
        sll_zoo.evaluate(network, batches())


def test_a_sound_evaluation_says_what_it_took_off(pretrained, digits):
    plain = sll_zoo.evaluate(pretrained, digits.test_dataloader())
    sound = sll_zoo.evaluate(pretrained, digits.test_dataloader(), sound=True)
    assert sound.sound
    assert not plain.sound
    assert (sound.slack > 0).all()
    torch.testing.assert_close(sound.proved, plain.proved, rtol=0, atol=1e-8)
    assert sound.counts == plain.counts


def test_no_images_are_no_measurement(pretrained, digits):
    images, labels = digits.tensors("test")
    for batches in ([], [(images[:0], labels[:0])]):
        with pytest.raises(InputError, match="no images"):
            sll_zoo.evaluate(pretrained, batches)


@pytest.mark.parametrize(
    "labels", [torch.zeros(2, 1, dtype=torch.long), torch.zeros(3, dtype=torch.long), torch.zeros(2), torch.tensor([0, -1])]
)
def test_labels_that_are_no_classes_are_refused(pretrained, labels):
    with pytest.raises(InputError, match=re.escape(str(tuple(labels.shape)))):
        sll_zoo.evaluate(pretrained, [(torch.zeros(2, 1, 8, 8), labels)])
