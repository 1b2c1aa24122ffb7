"""|WᵀW| q against its formula, for more units than one block of rows has."""

import time
from functools import partial

import pytest
import torch

from sll_zoo.functional.fast.gram import BLOCK, abs_gram_product, formula
from sll_zoo.functional.fast.products import linear
from tests import tolerances as tol
from tests.memory import peak

SIZES = {"one block": 7, "two whole blocks": 2 * BLOCK, "a last block of few rows": 2 * BLOCK + 88}


def arguments(units):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(units, 30, generator=generator, dtype=torch.float64, requires_grad=True)
    q = torch.rand(units, generator=generator, dtype=torch.float64).add(0.1).requires_grad_()
    return weight, torch.tensor(4.0, dtype=torch.float64), q


def weighted(sums):
    return (sums * torch.linspace(-1, 2, len(sums), dtype=sums.dtype)).sum()


def assert_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).norm() < tol.SAME * other.norm()


@pytest.mark.parametrize("units", SIZES.values(), ids=SIZES)
def test_values_and_derivatives_are_those_of_the_formula(units):
    weight, scale, q = arguments(units)
    found, wanted = abs_gram_product(weight, scale, q), formula(weight, scale, q)
    assert_same([found], [wanted])
    assert_same(torch.autograd.grad(weighted(found), (weight, q)), torch.autograd.grad(weighted(wanted), (weight, q)))


def test_second_derivatives_are_those_of_the_formula():
    weight, scale, q = arguments(BLOCK + 40)
    seconds = []
    for function in (abs_gram_product, formula):
        by_weight, by_q = torch.autograd.grad(weighted(function(weight, scale, q)), (weight, q), create_graph=True)
        seconds.append(torch.autograd.grad((by_weight.square().sum() * by_q.square().sum()), (weight, q)))
    assert_same(*seconds)


def derivative(function, weight):
    """Return the derivative by a weight, in float64."""
    weight = weight.clone().requires_grad_()
    sums = function(weight, weight.new_tensor(1.0), torch.ones_like(weight[:, 0]))
    return torch.autograd.grad(weighted(sums), weight)[0].double()


def test_an_entry_that_rounding_may_decide_has_the_sign_of_the_exact_product():
    weight = torch.randn(2 * BLOCK, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows, others = weight[:BLOCK], weight[BLOCK:]
    others -= (rows * others).sum(1, keepdim=True) / rows.square().sum(1, keepdim=True) * rows
    weight = weight.float()
    expected = derivative(formula, weight.double())  # the formula in float32 is 4 % off on our machine
    assert (derivative(abs_gram_product, weight) - expected).norm() < tol.DERIVATIVE32 * expected.norm()


def test_where_rounding_decides_all_signs_they_are_those_of_the_formula():
    generator = torch.Generator().manual_seed(0)
    weight = torch.linalg.qr(torch.randn(400, BLOCK, generator=generator))[0].mT.contiguous()
    expected = derivative(formula, weight)
    assert (derivative(abs_gram_product, weight) - expected).norm() < tol.DERIVATIVE32 * expected.norm()


def test_less_is_held_where_no_derivative_is_taken():
    product = partial(abs_gram_product, *arguments(BLOCK + 40))
    expected, kept = product(), peak(product)
    with torch.no_grad():
        assert torch.equal(product(), expected)
        assert peak(product) < kept


def test_slices_of_a_transposed_matrix_are_multiplied_as_fast_as_others():
    transposed = torch.randn(512, 512).mT
    pieces = transposed[256:], transposed[:256]
    seconds = {}
    for name, (x, y) in {"slices": pieces, "copies": tuple(piece.contiguous() for piece in pieces)}.items():
        runs = []
        for _ in range(5):
            start = time.perf_counter()
            linear(x, y)
            runs.append(time.perf_counter() - start)
        seconds[name] = min(runs)
    assert seconds["slices"] < 30 * seconds["copies"]  # without copies it was two thousand times
