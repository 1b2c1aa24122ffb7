import math

import pytest
import torch

from sll_zoo.errors import ConfigError
from sll_zoo.functional.activation import SLOPE_RESTRICTED, householder, max_min, slope_restricted
from sll_zoo.layers import Absolute, Householder, MaxMin, SLLConv2d, SLLLinear
from tests.laws import Subject, law_01_gain_is_at_most_one, law_02_no_pair_is_stretched
from tests.tolerances import SAME


def test_max_min_sorts_neighbours_and_leaves_an_odd_last_channel():
    x = torch.tensor([[1.0, 2.0, 4.0, 3.0, 5.0]])
    assert max_min(x).tolist() == [[2.0, 1.0, 4.0, 3.0, 5.0]]


def test_householder_at_a_right_angle_is_max_min():
    x = torch.randn(4, 6, 3, 3)
    torch.testing.assert_close(householder(x, torch.full((3,), math.pi / 2)), max_min(x))
    torch.testing.assert_close(Householder(7)(x := torch.randn(4, 7)), max_min(x))


@pytest.mark.parametrize("make", [MaxMin, lambda: Householder(5), Absolute])
def test_activations_between_layers_keep_the_gradients_norm(make):
    subject = Subject(make, (5, 2, 2))
    law_02_no_pair_is_stretched(subject)
    x = subject.inputs(1)[0]
    jacobian = torch.autograd.functional.jacobian(lambda v: subject.layer()(v[None])[0], x).reshape(20, 20)
    torch.testing.assert_close(jacobian.mT @ jacobian, torch.eye(20, dtype=torch.float64))


@pytest.mark.parametrize("name", SLOPE_RESTRICTED)
def test_slopes_are_in_zero_one_and_the_residual_form_obeys_with_them(name):
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(SLOPE_RESTRICTED[name](x).sum(), x)
    assert 0 <= slope.min() <= slope.max() <= 1
    whole = torch.arange(-100, 101, dtype=torch.float64)
    rise = SLOPE_RESTRICTED[name](whole + 1e-9) - SLOPE_RESTRICTED[name](whole)  # formulas that change at a number must not jump
    assert -SAME <= rise.min() <= rise.max() <= 1e-9 + SAME
    law_01_gain_is_at_most_one(Subject(lambda: SLLLinear(6, 4, activation=name), (6,)))
    law_02_no_pair_is_stretched(Subject(lambda: SLLConv2d(3, 4, activation=name), (3, 4, 4)))


@pytest.mark.parametrize("name", ["abs", "maxmin", "silu", "householder"])
def test_other_activations_are_refused_inside_the_residual_form_with_the_reason(name):
    for layer in (SLLLinear, SLLConv2d):
        with pytest.raises(ConfigError, match=f"activation='{name}'"):
            layer(6, 4, activation=name)
    with pytest.raises(ConfigError):
        slope_restricted(name)


@pytest.mark.parametrize("channels", [1, 6, 7])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_max_min_is_the_same_whichever_way_its_derivatives_are_taken(channels, memory):
    x = torch.randn(2, channels, 3, 2, dtype=torch.float64).contiguous(memory_format=memory).requires_grad_()
    by_formula = torch.func.vmap(lambda image: max_min(image[None])[0])(x)
    assert torch.equal(max_min(x), by_formula)
    given = torch.randn_like(x)
    assert torch.equal(*(torch.autograd.grad(y, x, given)[0] for y in (max_min(x), by_formula)))
    assert torch.autograd.gradcheck(max_min, (x,))
    assert torch.autograd.gradgradcheck(max_min, (x,))
    assert torch.equal(*(torch.autograd.functional.jacobian(max_min, x, vectorize=vectorize) for vectorize in (False, True)))


def test_equal_channels_keep_their_order_in_the_derivative():
    x = torch.zeros(1, 2, requires_grad=True)
    assert torch.autograd.grad(max_min(x), x, torch.tensor([[1.0, 0.0]]))[0].tolist() == [[1.0, 0.0]]
