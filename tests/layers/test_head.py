import torch

from sll_zoo.layers import UnitRowsLinear
from tests import tolerances as tol


def test_rows_are_of_norm_one_whatever_the_scale():
    for factor in (1e-8, 1.0, 1e6):
        head = UnitRowsLinear(20, 5)
        with torch.no_grad():
            head.weight.mul_(factor)
        torch.testing.assert_close(head.unit_rows().norm(dim=1), torch.ones(5))


def test_a_zero_row_stays_zero_with_a_finite_gradient():
    head = UnitRowsLinear(4, 3)
    with torch.no_grad():
        head.weight[1] = 0
    head(torch.randn(2, 4)).sum().backward()
    assert head.weight.grad.isfinite().all()
    assert not head.unit_rows()[1].any()


def test_pairwise_constants_are_the_distances_of_the_rows_in_float64():
    head = UnitRowsLinear(6, 4)
    constants = head.pairwise_lipschitz()
    rows = head.unit_rows().double()
    assert constants.dtype == torch.float64
    for i in range(4):
        for j in range(4):
            assert abs(constants[i, j] - (rows[i] - rows[j]).norm()) < tol.SAME


def test_constants_of_nearly_equal_rows_keep_their_digits():
    head = UnitRowsLinear(1000, 2).double()
    with torch.no_grad():
        head.weight[1] = head.weight[0]
        head.weight[1, 0] += 1e-9
    exact = (head.unit_rows()[0] - head.unit_rows()[1]).norm()
    assert 0 < exact < 1e-8
    torch.testing.assert_close(head.pairwise_lipschitz()[0, 1], exact, rtol=1e-12, atol=0)


def test_no_logit_difference_is_stretched_beyond_its_constant():
    head = UnitRowsLinear(6, 4).double()
    x, y = torch.randn(2, 200, 6, dtype=torch.float64)
    difference = (head(x) - head(y))[:, :, None] - (head(x) - head(y))[:, None, :]
    bound = head.pairwise_lipschitz() * (x - y).norm(dim=1)[:, None, None]
    assert (difference <= bound + tol.SAME).all()
