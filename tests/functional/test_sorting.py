import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from sll_zoo.errors import ConfigError
from sll_zoo.functional import sorting
from sll_zoo.functional.sorting import order_weights, power_distances, require_power, require_rho, sorted_distances
from sll_zoo.layers import SortLinear
from sll_zoo.models import SortNetConfig
from tests import tolerances as tol


@pytest.fixture
def batch():
    return torch.randn(4, 5, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def offsets():
    return torch.randn(3, 5, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rho", [0.0, 1e-30, 0.1, 0.3, 0.5, 0.9, 0.999, 1 - 1e-12])
def test_the_weights_as_they_are_stored_sum_to_no_more_than_one_and_to_nearly_one(rho, dtype):
    weights = order_weights(rho, 5000, dtype)
    total = sum(map(Fraction, weights.tolist()))
    assert (weights >= 0).all()
    assert total <= 1
    assert total >= 1 - rho**5000 - 10 * torch.finfo(dtype).eps


def test_the_weights_end_where_the_rest_is_below_rounding():
    assert len(order_weights(0.3, 5000)) == 31
    assert len(order_weights(0.3, 5000, torch.float32)) == 14
    assert len(order_weights(0.3, 7)) == 7
    assert order_weights(0.0, 5000).tolist() == [1.0]


@pytest.mark.parametrize("rho", [1.0, -0.1, 2, math.nan, "0.3", True, None])
def test_other_rho_are_refused(rho):
    with pytest.raises(ConfigError, match="rho="):
        require_rho(rho)
    with pytest.raises(ConfigError, match="rho="):
        SortNetConfig(width=4, rho=rho)


@pytest.mark.parametrize(("p", "words"), [(0.5, "0.5"), (math.nan, "nan"), (1e300, "1e\\+300"), (-math.inf, "-inf")])
def test_powers_that_are_no_norm_or_overflow_are_refused(p, words, batch, offsets):
    with pytest.raises(ConfigError, match=words):
        power_distances(batch.float(), offsets.float(), p)


@pytest.mark.parametrize("p", ["8", None, True])
def test_powers_that_are_no_numbers_are_refused(p):
    with pytest.raises(ConfigError, match=f"p={p!r}"):
        require_power(p)


def test_the_maximum_of_what_a_random_mask_keeps_is_the_neuron_in_expectation(batch, offsets):
    rho, expected = 0.3, torch.zeros(4, 3, dtype=torch.float64)
    for mask in itertools.product([False, True], repeat=5):
        keep = torch.tensor(mask)
        probability = (1 - rho) ** sum(mask) * rho ** (5 - sum(mask))
        expected += probability * power_distances(batch[:, keep], offsets[:, keep], math.inf).detach()
    exact = sorted_distances(batch, offsets, order_weights(rho, 5))
    torch.testing.assert_close(expected, exact.detach(), rtol=0, atol=tol.SAME)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 8.0, 8.5, 11.0, 1000.0, 1e30, math.inf])
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_power_distances_are_norms_at_any_power_and_size_with_finite_derivatives(p, size, batch, offsets):
    x, b = (size * part.detach().float() for part in (batch, offsets))
    x.requires_grad_()
    b.requires_grad_()
    y = power_distances(x, b, p)
    exact = np.linalg.norm((x[:, None] + b).detach().double().numpy() / size, p, axis=2) if p < 1e3 else None
    largest = (x[:, None] + b).abs().amax(2) / size
    np.testing.assert_allclose((y / size).detach(), largest.detach() if exact is None else exact, rtol=tol.POWER)
    (y / size).sum().backward()
    for gradient in (x.grad, b.grad):
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    "rule",
    [
        lambda x, b: sorted_distances(x, b, order_weights(0.4, 5)),
        lambda x, b: power_distances(x, b, 8.0),
        lambda x, b: power_distances(x, b, 5.5),
    ],
)
def test_derivatives_are_those_of_the_formula_and_pieces_change_nothing(rule, batch, offsets, monkeypatch):
    assert torch.autograd.gradcheck(rule, (batch, offsets))
    whole = rule(batch, offsets)
    gradients = torch.autograd.grad(whole.square().sum(), (batch, offsets))
    monkeypatch.setattr(sorting, "PIECE", 1)
    pieces = rule(batch, offsets)
    assert torch.equal(pieces, whole)
    for one, other in zip(torch.autograd.grad(pieces.square().sum(), (batch, offsets)), gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tol.SAME)


def test_no_input_gives_zero_and_all_at_zero_gives_finite_derivatives(batch, offsets):
    nothing = torch.zeros(5, dtype=torch.bool)
    assert not power_distances(batch[:, nothing], offsets[:, nothing], 8.0).any()
    x, b = torch.zeros(2, 5, requires_grad=True), torch.zeros(3, 5, requires_grad=True)
    for y in (power_distances(x, b, 8.0), power_distances(x, b, math.inf), sorted_distances(x, b, torch.ones(1))):
        assert not y.any()
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(y.sum(), (x, b)))


def test_nan_reaches_every_value(batch, offsets):
    x = batch.detach().clone()
    x[0, 0] = torch.nan
    for y in (
        power_distances(x, offsets, 8.0),
        power_distances(x, offsets, math.inf),
        sorted_distances(x, offsets, torch.ones(2)),
    ):
        assert y[0].isnan().all()
        assert y[1:].isfinite().all()


@pytest.mark.parametrize("stored", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("computed", [torch.float64, torch.float32])
def test_weights_of_a_layer_sum_to_no_more_than_one_in_the_type_in_which_it_computes(stored, computed):
    for rho in np.linspace(0.05, 0.95, 91):
        weights = SortLinear(50, 1, rho=rho, dtype=stored).order_weights(computed).to(computed)
        assert sum(map(Fraction, weights.tolist())) <= 1


def test_torch_func_takes_derivatives_of_a_batch_and_of_each_image(batch, offsets):
    weights = order_weights(0.3, 5)
    x, offsets = batch.detach(), offsets.detach()
    (expected,) = torch.autograd.grad(sorted_distances(batch, offsets, weights).sum(), batch)
    torch.testing.assert_close(torch.func.grad(lambda x: sorted_distances(x, offsets, weights).sum())(x), expected)
    of_each = torch.func.vmap(torch.func.grad(lambda image: sorted_distances(image[None], offsets, weights).sum()))(x)
    torch.testing.assert_close(of_each, expected)
