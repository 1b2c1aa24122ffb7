"""T from products in bfloat16: near enough to train by, and never in a certificate."""

import copy
import pickle

import pytest
import torch
from lightning import Callback, Trainer

import sll_zoo
from sll_zoo import CertifiedClassifier
from sll_zoo.data import Digits
from sll_zoo.functional.fast.gram import abs_gram_product
from sll_zoo.layers import SLLLinear
from sll_zoo.training.callbacks import BFloat16Rescaling
from sll_zoo.training.products import TrainingProduct, change_products, restore_products


def test_products_of_bfloat16_have_nearly_the_same_value_and_derivatives():
    weight, q = torch.randn(300, 500), torch.rand(300) + 0.5
    found = []
    for compute_dtype in (None, torch.bfloat16):
        inputs = [tensor.clone().requires_grad_() for tensor in (weight, q)]
        sums = abs_gram_product(inputs[0], torch.tensor(4.0), inputs[1], compute_dtype)
        found.append([sums, *torch.autograd.grad(sums.log().sum(), inputs)])
    # Derivatives by the weight change sign with the entries of WᵀW that are near 0.
    for ours, exact, limit in zip(found[1], found[0], (0.002, 0.1, 0.01), strict=True):
        assert ours.dtype == torch.float32
        assert 1e-5 < (ours - exact).norm() / exact.norm() < limit


class Look(Callback):
    """Note the steps of a dense layer where a training takes them, and where it only looks."""

    def on_train_batch_end(self, trainer, pl_module, *_):  # noqa: ARG002
        self.trained = self.compare(pl_module.model.denses[0])

    def on_validation_epoch_end(self, trainer, pl_module):  # noqa: ARG002
        self.validated = self.compare(pl_module.model.denses[0])

    @staticmethod
    def compare(layer):
        exact = SLLLinear(layer.weight.shape[1], len(layer.weight))
        exact.load_state_dict(layer.state_dict())
        with torch.inference_mode(False), torch.set_grad_enabled(layer.training):
            return torch.equal(layer.step(), exact.step()), torch.allclose(layer.step(), exact.step(), rtol=0.01)


def test_a_training_takes_it_for_its_steps_alone_and_leaves_nothing_behind(tmp_path):
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    look, task = Look(), CertifiedClassifier("sll_nano.digits")
    run = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=3,
        callbacks=[BFloat16Rescaling(), look],
        **quiet,
    )
    run.fit(task, datamodule=Digits())
    assert (look.trained, look.validated) == ((False, True), (True, True))
    assert all(layer.product is abs_gram_product for layer in task.model.denses)


def test_no_certificate_rests_on_it_even_while_a_network_trains(pretrained, digits):
    images, labels = (part[:8] for part in digits.tensors("test"))
    exact = sll_zoo.evaluate(pretrained, [(images, labels)]).proved
    change_products(pretrained.train(), compute_dtype=torch.bfloat16)
    assert torch.equal(sll_zoo.evaluate(pretrained, [(images, labels)]).proved, exact)
    for other in (copy.deepcopy(pretrained), pickle.loads(pickle.dumps(pretrained)), sll_zoo.quantize(pretrained, 32)):
        assert all(layer.product is abs_gram_product for layer in other.denses)
    assert torch.equal(sll_zoo.certify(pretrained.eval(), images).radius, exact)


def refuse(*_):
    raise AssertionError("a product of a training was taken outside of its steps")


def test_outside_the_steps_of_a_training_no_product_that_a_layer_was_given_is_taken(pretrained, digits):
    images, labels = (part[:4] for part in digits.tensors("test"))
    exact = sll_zoo.certify(pretrained, images).radius
    for layer in pretrained.train().denses:
        layer.product = refuse
    with pytest.raises(AssertionError, match="a product of a training"):
        pretrained(images)
    with torch.no_grad():
        pretrained(images)
    sll_zoo.evaluate(pretrained, [(images, labels)])
    assert torch.equal(sll_zoo.certify(pretrained.eval(), images).radius, exact)
    assert torch.equal(sll_zoo.certify(sll_zoo.fold(pretrained.train(), torch.float64), images).radius, exact)
    assert (sll_zoo.certify(pretrained.eval(), images, sound=True).radius <= exact).all()
    pretrained(images).sum().backward()


def test_what_two_callbacks_choose_holds_together_in_either_order():
    model, choices = (
        sll_zoo.create_model("sll_nano"),
        {"group": object(), "compute_dtype": torch.bfloat16},
    )
    for names in (["group", "compute_dtype"], ["compute_dtype", "group"]):
        for name in names:
            change_products(model, **{name: choices[name]})
        assert {layer.product for layer in model.denses} == {TrainingProduct(**choices)}
        restore_products(model)
        assert {layer.product for layer in model.denses} == {abs_gram_product}
