"""Networks under ``torch.jit.trace``, with which TensorBoard, profilers and summaries look at them."""

from dataclasses import replace

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.utilities.model_summary import ModelSummary

import sll_zoo
from sll_zoo.data import Digits
from sll_zoo.layers import FAMILIES
from sll_zoo.models import build
from tests import tolerances as tol
from tests.models.test_classifier import CONFIGS

# Newer versions of torch call the trace deprecated; it warns of every shape that is checked.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:This property will be removed:DeprecationWarning"),  # of metrics, by the trace of a task
]


@pytest.mark.parametrize("form", ["as it is trained", "folded"])
@pytest.mark.parametrize("shape", CONFIGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_that_is_traced_computes_the_same_for_any_batch(family, shape, form):
    model = build(replace(CONFIGS[shape], family=family)).double()
    model = model if form == "as it is trained" else sll_zoo.fold(model)
    traced = torch.jit.trace(model, torch.rand(2, 3, 8, 4, dtype=torch.float64))
    for batch in (1, 2, 5):
        images = torch.rand(batch, 3, 8, 4, dtype=torch.float64)
        torch.testing.assert_close(traced(images), model(images), rtol=0, atol=tol.SAME)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_that_is_traced_has_the_same_derivatives(family):
    model, images = build(replace(CONFIGS["lipnet"], family=family)).double(), torch.rand(2, 3, 8, 4, dtype=torch.float64)
    found = [
        torch.autograd.grad(network(images).square().sum(), list(model.parameters()))
        for network in (torch.jit.trace(model, images), model)
    ]
    torch.testing.assert_close(*found, rtol=0, atol=1e-9)


@pytest.mark.parametrize("family", ["sll", "orthogonal", "sandwich"])
def test_a_summary_of_all_layers_runs_them(family):
    task = sll_zoo.CertifiedClassifier(f"{family}_nano")
    task.example_input_array = torch.rand(2, 1, 8, 8)
    assert "model.convs.0" in str(ModelSummary(task, max_depth=-1))


class Graph(Callback):
    """Traces a task as TensorBoard's logger does with ``log_graph``; tensorboard is not among the packages of the tests."""

    def on_train_start(self, trainer, pl_module):  # noqa: ARG002 - Lightning's signature
        images = pl_module.example_input_array
        self.logits = torch.jit.trace(pl_module, images, strict=False)(images)


def test_a_training_on_augmented_images_sums_its_network_up_and_logs_its_graph():
    task, data, graph = sll_zoo.CertifiedClassifier("sll_nano"), Digits(batch_size=64), Graph()
    task.example_input_array = torch.rand(2, 1, 8, 8)
    data.augment = "crop_flip"
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "limit_val_batches": 0}
    Trainer(accelerator="cpu", max_steps=1, callbacks=[graph], **options).fit(task, data)
    assert graph.logits.shape == (2, 10)
