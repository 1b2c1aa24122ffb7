import copy

import numpy as np
import pytest
import safetensors.numpy
import torch
from lightning import Trainer
from torch import nn

import sll_zoo
from sll_zoo.errors import ConfigError, InputError
from tests import tolerances as tol
from tests.checkouts import ROOT
from tests.oracles import absolute_row_sums, dense_matrix, sll_t

CHECKPOINT = ROOT / "checkpoints" / "sll_nano.digits" / "model.safetensors"


def attack(model, images, prediction, radius, steps=60):
    """Search each open L2 ball for another class: gradient ascent on the strongest rival, projected on ball and pixel range."""
    delta = torch.randn_like(images)
    best = torch.zeros(len(images), dtype=torch.bool)
    scale = radius.view(-1, 1, 1, 1)
    for _ in range(steps):
        delta = delta / delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1).clamp_min(1e-12) * scale
        delta = ((images + delta).clamp(0, 1) - images).detach().requires_grad_()
        logits = model(images + delta)
        best |= logits.argmax(1) != prediction
        own = logits.gather(1, prediction[:, None])[:, 0]
        rival = logits.scatter(1, prediction[:, None], -torch.inf).amax(1)
        (gradient,) = torch.autograd.grad((rival - own).sum(), delta)
        direction = gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1).clamp_min(1e-12)
        delta = (delta + 0.2 * scale * direction).detach()
    return best


def shipped_network_in_numpy(images):
    """Return prediction and radius from model.safetensors alone, in numpy."""
    state = {key: value.astype(np.float64) for key, value in safetensors.numpy.load_file(CHECKPOINT).items()}
    x = images - state["center.mean"]
    x = np.concatenate([x, np.zeros((len(x), 7, 8, 8))], 1).reshape(len(x), -1)
    for part, layers in (("convs", 4), ("denses", 3)):
        for layer in range(layers):
            weight, bias, log_q = (state[f"{part}.{layer}.{name}"] for name in ("weight", "bias", "log_q"))
            t = sll_t(absolute_row_sums(weight), log_q)
            matrix = weight if weight.ndim == 2 else dense_matrix(weight, 8, 8)
            repeats = len(matrix) // len(t)
            hidden = np.maximum(x @ matrix.T + np.repeat(bias, repeats), 0)
            x = x - 2 * (hidden / np.repeat(t, repeats)) @ matrix
    rows = state["head.weight"] / np.linalg.norm(state["head.weight"], axis=1, keepdims=True)
    logits = x @ rows.T + state["head.bias"]
    prediction = logits.argmax(1)
    radius = [
        min((row[y] - row[j]) / np.linalg.norm(rows[y] - rows[j]) for j in range(10) if j != y)
        for row, y in zip(logits, prediction, strict=True)
    ]
    return prediction, np.array(radius)


def test_no_attack_flips_a_prediction_inside_its_radius_and_some_do_beyond(pretrained, digits):
    images, _ = (part[:40] for part in digits.tensors("test"))
    certificate = sll_zoo.certify(pretrained, images)
    model, images = sll_zoo.fold(pretrained, torch.float64), images.double()
    assert not attack(model, images, certificate.prediction, 0.999 * certificate.radius).any()
    assert attack(model, images, certificate.prediction, 3 * certificate.radius).float().mean() > 0.5


def test_certified_is_below_empirical_is_below_clean(pretrained, digits):
    images, labels = (part[:40] for part in digits.tensors("test"))
    certificate = sll_zoo.certify(pretrained, images)
    correct = certificate.prediction == labels
    eps = 108 / 255
    folded, radius = sll_zoo.fold(pretrained, torch.float64), torch.full((40,), eps, dtype=torch.float64)
    broken = attack(folded, images.double(), certificate.prediction, radius)
    certified, empirical = correct & (certificate.radius > eps), correct & ~broken
    assert certified.sum() <= empirical.sum() <= correct.sum()
    assert not (certified & ~empirical).any()


def test_radius_equals_that_of_a_numpy_network_read_from_the_file(pretrained, digits):
    images, _ = (part[:10] for part in digits.tensors("test"))
    certificate = sll_zoo.certify(pretrained, images)
    prediction, radius = shipped_network_in_numpy(images.double().numpy())
    assert certificate.prediction.tolist() == prediction.tolist()
    assert certificate.radius.tolist() == pytest.approx(radius.tolist(), rel=tol.SAME)


def test_equal_rows_of_the_head_are_a_tie_however_a_matrix_product_rounds(digits):
    model = sll_zoo.create_model("sll_nano.digits", pretrained=True).eval()
    with torch.no_grad():
        model.head.weight[9] = model.head.weight[0]
        model.head.bias[[0, 9]] = 3.0
    certificate = sll_zoo.certify(model, digits.tensors("test")[0])
    tied = (certificate.prediction == 0) | (certificate.prediction == 9)
    assert tied.sum() > 50
    assert not certificate.radius[tied].any()


class Noisy(nn.Module):
    """Float64, nothing to fold, and random unless it is in eval mode."""

    def __init__(self, constants):
        super().__init__()
        self.constants = constants
        self.layer = nn.Sequential(nn.Dropout(), nn.Flatten(), nn.Linear(64, 3)).double()

    def forward(self, x):
        return self.layer(x)

    def pairwise_lipschitz(self):
        return self.constants


def test_models_that_are_not_ready_are_refused_with_the_remedy(pretrained, digits):
    images = digits.tensors("test")[0][:2]
    for model, message in (
        (Noisy(torch.tensor(100.0)).train(), r"model\.eval\(\)"),
        (copy.deepcopy(pretrained).bfloat16(), r"torch\.bfloat16.*model\.float\(\)"),
        (copy.deepcopy(pretrained).half(), r"torch\.float16"),
        (split_over_devices(pretrained), "cpu, meta"),
    ):
        with pytest.raises(InputError, match=message):
            sll_zoo.certify(model, images)


def test_a_network_with_a_hook_is_refused(pretrained, digits):
    images = digits.tensors("test")[0][:2]
    hooked = copy.deepcopy(pretrained)
    hooked.denses[0].register_forward_hook(lambda _, __, y: 100 * y)
    task = sll_zoo.CertifiedClassifier("sll_nano.digits")
    task.model = hooked
    with pytest.raises(ConfigError, match=r"denses\.0 \(SLLLinear\): .*hook"):
        sll_zoo.certify(hooked, images)
    with pytest.raises(ConfigError, match=r"denses\.0 \(SLLLinear\): .*hook"):
        Trainer(accelerator="cpu", barebones=True).predict(task, digits.test_dataloader())
    frozen = sll_zoo.freeze(pretrained)
    frozen.network.head.register_forward_hook(lambda _, __, y: 100 * y)
    with pytest.raises(ConfigError, match=r"head \(FoldedLinearForm\): .*hook"):
        sll_zoo.certify(frozen, images)


def split_over_devices(model):
    split = copy.deepcopy(model)
    split.head.to("meta")
    return split


@pytest.mark.parametrize("constants", [torch.tensor(-1.0), torch.tensor(torch.nan), torch.ones(2, 2)])
def test_constants_that_prove_nothing_are_refused(constants, digits):
    with pytest.raises(InputError, match=r"pairwise_lipschitz.*\(3, 3\)"):
        sll_zoo.certify(Noisy(constants).eval(), digits.tensors("test")[0])


def test_float32_and_float64_images_and_a_folded_network_give_one_answer(pretrained, digits):
    images, _ = digits.tensors("test")
    radius = sll_zoo.certify(pretrained, images).radius
    assert radius.dtype == torch.float64
    assert torch.equal(sll_zoo.certify(pretrained, images.double()).radius, radius)
    assert torch.equal(sll_zoo.certify(sll_zoo.fold(pretrained, torch.float64), images).radius, radius)


def test_certify_leaves_the_network_as_it_was(pretrained, digits):
    before = {key: value.clone() for key, value in pretrained.state_dict().items()}
    sll_zoo.certify(pretrained, digits.tensors("test")[0][:2])
    assert all(torch.equal(value, before[key]) for key, value in pretrained.state_dict().items())
    assert next(pretrained.parameters()).requires_grad


def test_an_empty_batch_has_an_empty_certificate(pretrained):
    certificate = sll_zoo.certify(pretrained, torch.zeros(0, 1, 8, 8))
    assert certificate.prediction.shape == certificate.radius.shape == (0,)


def test_nan_weights_certify_nothing(digits):
    model = sll_zoo.create_model("sll_nano.digits").eval()
    with torch.no_grad():
        model.head.bias[3] = torch.nan
    assert not sll_zoo.certify(model, digits.tensors("test")[0][:5]).radius.any()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), r"torch\.uint8.*/ 255"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.float16), r"torch\.float16"),
        (255 * torch.ones(2, 1, 8, 8), r"255\.0"),
        (-0.5 * torch.ones(2, 1, 8, 8), r"-0\.5"),
        (torch.full((2, 1, 8, 8), torch.nan), "NaN"),
        (torch.full((2, 1, 8, 8), torch.inf), "inf"),
        (torch.zeros(1, 8, 8), "images\\[None\\]"),
        (torch.zeros(2, 3, 8, 8), r"\(batch, 1, 8, 8\)"),
        ([[0.0]], "list"),
    ],
)
def test_images_that_are_not_ours_are_refused_with_the_remedy(pretrained, images, message):
    with pytest.raises(InputError, match=message):
        sll_zoo.certify(pretrained, images)


def test_a_network_without_constants_is_refused():
    with pytest.raises(InputError, match=r"Linear.*pairwise_lipschitz\(\)"):
        sll_zoo.certify(nn.Linear(2, 2), torch.zeros(1, 1, 1, 2))


def test_a_compiled_network_is_refused_with_the_remedy(pretrained):
    with pytest.raises(InputError, match="give what was compiled"):
        sll_zoo.certify(torch.compile(pretrained, backend="eager"), torch.zeros(1, 1, 8, 8))


def test_a_call_that_is_redirected_is_not_what_is_certified(pretrained, digits):
    images = digits.tensors("test")[0][:2]
    folded = sll_zoo.fold(pretrained, torch.float64)
    folded.head._compiled_call_impl = lambda y: 1000 * type(folded.head).forward(folded.head, y)  # as compile() does
    assert torch.equal(sll_zoo.certify(folded, images).radius, sll_zoo.certify(pretrained, images).radius)
    frozen = sll_zoo.freeze(pretrained)
    frozen.network.compile()
    with pytest.raises(ConfigError, match="compiled"):
        sll_zoo.certify(frozen, images)
