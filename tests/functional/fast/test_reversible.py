"""Stacks of residual layers against the formula, applied a layer at a time with PyTorch's own derivatives."""

from functools import partial

import jaxtyping
import pytest
import torch

from sll_zoo.functional.fast import reversible
from sll_zoo.functional.fast.reversible import Layer, residuals
from sll_zoo.functional.rescaling import residual_step, row_sums
from sll_zoo.functional.residual import residual
from tests import tolerances as tol
from tests.memory import peak

KINDS = {"dense": ((6,), ()), "convolution": ((5,), (3, 3))}


def layers_and_input(kind, depth=3, bias=True, dtype=torch.float64):
    (features,), kernel = KINDS[kind]
    generator = torch.Generator().manual_seed(0)

    def noise(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    layers = []
    for _ in range(depth):
        weight, log_q = noise(4, features, *kernel), noise(4)
        step = residual_step(weight, lambda weight, scale, log_q=log_q: row_sums(weight, scale, log_q)).detach().requires_grad_()
        layers.append(Layer(weight, noise(4) if bias else None, step))
    return layers, noise(3, features, *(7, 6)[: len(kernel)])


def one_by_one(x, layers, padding_mode):
    for layer in layers:
        x = residual(x, *layer, "relu", padding_mode)
    return x


def derivatives(y, x, layers, again=False):
    inputs = [tensor for tensor in (x, *sum(layers, ())) if tensor is not None]
    return torch.autograd.grad((y * torch.linspace(-1, 2, y.numel()).view_as(y)).sum(), inputs, create_graph=again)


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("images", [1, 2, 3], ids="{} at a time".format)
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_derivatives_are_those_of_the_formula(kind, padding_mode, bias, depth, images, monkeypatch):
    layers, x = layers_and_input(kind, depth, bias)
    monkeypatch.setattr(reversible, "PART", images * x[:1].nbytes)
    y, expected = residuals(x, layers, "relu", padding_mode), one_by_one(x, layers, padding_mode)
    assert distance(y, expected) < 1e-14
    for found, wanted in zip(derivatives(y, x, layers), derivatives(expected, x, layers), strict=True):
        assert distance(found, wanted) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_in_float32_they_are_those_of_float64_to_rounding(kind):
    layers, x = layers_and_input(kind, dtype=torch.float32)
    exact, exact_x = [Layer(*(tensor.double() for tensor in layer)) for layer in layers], x.double()
    wanted = derivatives(one_by_one(exact_x, exact, "zeros"), exact_x, exact)
    for memory_format in (torch.contiguous_format, *([torch.channels_last] if x.ndim == 4 else [])):
        found = derivatives(residuals(x.contiguous(memory_format=memory_format), layers), x, layers)
        assert max(distance(one.double(), other) for one, other in zip(found, wanted, strict=True)) < tol.DERIVATIVE32


@pytest.mark.parametrize("images", [1, 2, 3], ids="{} at a time".format)
@pytest.mark.parametrize("kind", KINDS)
def test_images_of_which_no_derivative_is_asked(kind, images, monkeypatch):
    layers, x = layers_and_input(kind)
    x = x.detach()
    monkeypatch.setattr(reversible, "PART", images * x[:1].nbytes)
    found, wanted = (
        torch.autograd.grad(y.sum(), sum(layers, ())) for y in (residuals(x, layers), one_by_one(x, layers, "zeros"))
    )
    assert max(map(distance, found, wanted)) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_without_a_batch_is_left_to_the_formula(kind, monkeypatch):
    layers, x = layers_and_input(kind)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the annotations ask for a batch
    found, wanted = residuals(x[0], layers), one_by_one(x[0], layers, "zeros")
    assert torch.equal(found, wanted)
    assert all(map(torch.equal, derivatives(found, x, layers), derivatives(wanted, x, layers)))


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_taken_in_the_type_of_the_pass_before(kind):
    layers, x = layers_and_input(kind, dtype=torch.float32)
    wanted, y = derivatives(residuals(x, layers), x, layers), residuals(x, layers)
    with torch.autocast("cpu", torch.bfloat16):
        found = derivatives(y, x, layers)
    assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("kind", KINDS)
def test_second_derivatives_are_those_of_the_formula(kind):
    layers, x = layers_and_input(kind)
    seconds = [
        torch.autograd.grad(derivatives(y, x, layers, again=True)[0].square().sum(), layers[0].weight)[0]
        for y in (residuals(x, layers), one_by_one(x, layers, "zeros"))
    ]
    assert distance(*seconds) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_asked_for_is_derived(kind):
    layers, x = layers_and_input(kind)
    frozen = [Layer(*(tensor.detach() for tensor in layer)) for layer in layers]
    by_input = torch.autograd.grad(residuals(x, frozen).sum(), x)[0]
    assert distance(by_input, torch.autograd.grad(one_by_one(x, layers, "zeros").sum(), x)[0]) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_takes_products_in_its_type_and_keeps_the_inputs_that_are_found_again(kind):
    layers, x = layers_and_input(kind, depth=12, dtype=torch.float32)
    kept = []
    keep = torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor)
    with keep, torch.autocast("cpu", torch.bfloat16):
        y = residuals(x, layers)
    assert y.dtype == torch.float32
    assert sum(tensor.dtype == torch.bfloat16 for tensor in kept) == len(layers)
    expected = one_by_one(x, layers, "zeros")
    assert 1e-5 < distance(y, expected) < 2e-2
    found, wanted = derivatives(y, x, layers), derivatives(expected, x, layers)
    assert {tensor.dtype for tensor in found} == {torch.float32}
    assert distance(*(torch.cat([tensor.flatten() for tensor in side]) for side in (found, wanted))) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_no_images_has_derivatives(kind):
    layers, x = layers_and_input(kind, dtype=torch.float32)
    assert all(not found.any() for found in derivatives(residuals(x[:0], layers), x, layers))


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_leaves_float64_alone(kind):
    layers, x = layers_and_input(kind)
    with torch.autocast("cpu", torch.bfloat16):
        y = residuals(x, layers)
    assert torch.equal(y, residuals(x, layers))


@pytest.mark.parametrize("kind", KINDS)
def test_less_is_held_where_no_derivative_is_taken(kind):
    layers, x = layers_and_input(kind)
    stack = partial(residuals, x, layers)
    expected, kept = stack(), peak(stack)
    with torch.no_grad():
        assert torch.equal(stack(), expected)
        assert peak(stack) < kept


@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu_inputs_may_be_in_half_precision_beside_weights_in_float32(kind):
    layers, x = layers_and_input(kind, depth=1, dtype=torch.float32)
    half = x.detach().bfloat16().requires_grad_()
    ways = (
        lambda: reversible._ReluResiduals.apply("zeros", torch.bfloat16, half, *sum(layers, ())),
        lambda: one_by_one(half.float(), layers, "zeros"),
    )
    y, exact = (way() for way in ways)
    assert y.dtype == torch.bfloat16
    assert 1e-5 < distance(y.float(), exact) < tol.BF16
    found, wanted = derivatives(y, half, layers), derivatives(exact, half, layers)
    assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in wanted]
    assert max(distance(one.float(), other.float()) for one, other in zip(found, wanted, strict=True)) < 0.1
    seconds = [
        torch.autograd.grad(derivatives(way(), half, layers, again=True)[0].float().square().sum(), layers[0].weight)[0]
        for way in ways
    ]
    assert distance(*seconds) < 0.1
