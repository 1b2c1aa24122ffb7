import pytest
import torch

from sll_zoo.functional.convolution import frequencies
from sll_zoo.functional.rescaling import safe_reciprocal, tightened
from sll_zoo.functional.spectral import squared_spectral_norm_upper_bound, trace_optimal
from tests import tolerances as tol


def circular_norm(kernel, size=125):
    return torch.linalg.matrix_norm(torch.fft.fft2(kernel, s=(size, size)).permute(2, 3, 0, 1), 2).max()


@pytest.mark.parametrize("shape", [(30, 40), (40, 30), (5, 20, 3, 3), (20, 5, 3, 3), (3, 3, 5, 5)])
def test_the_bound_is_above_the_norm_and_close_to_it(shape):
    for seed in range(5):
        weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        norm = torch.linalg.matrix_norm(weight, 2) if weight.ndim == 2 else circular_norm(weight)
        bound = squared_spectral_norm_upper_bound(weight).sqrt()
        assert norm <= bound * (1 + tol.SAME)
        assert bound <= norm * (1.02 if weight.ndim == 2 else 1.1)


@pytest.mark.parametrize("size", [3, 5])
def test_the_bound_counts_what_lies_between_the_frequencies(size):
    kernels = torch.randn(20, 1, 1, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for kernel in kernels:  # of one unit, where row sums leave no room
        norm, bound = circular_norm(kernel, 501), squared_spectral_norm_upper_bound(kernel).sqrt()
        assert norm <= bound <= 1.02 * norm


@pytest.mark.parametrize("scale", [1e-20, 1e-8, 1.0, 1e8, 1e18])
@pytest.mark.parametrize("power", [1, 2, 4, 8])
def test_tightened_t_neither_overflows_nor_underflows_in_float32(scale, power):
    for shape in ((6, 9), (4, 3, 3, 3)):
        weight = torch.randn(shape, dtype=torch.float64)
        exact = tightened(weight, torch.zeros(shape[0], dtype=torch.float64), power)
        t = tightened((weight * scale).float(), torch.zeros(shape[0]), power)
        assert (safe_reciprocal(t).double() * exact * scale**2 <= 1 + 1e-4).all(), "a step longer than 1/T"
        if scale**2 > 1e-38:  # else WᵀW itself underflows, and a shorter step is all that can be had
            torch.testing.assert_close(t.double() / scale**2, exact, rtol=1e-4, atol=0)


@pytest.mark.parametrize("log_q", [[30.0, -30.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
@pytest.mark.parametrize("power", [2, 4, 8])
def test_tightened_t_dominates_with_zero_and_equal_rows_and_extreme_q(power, log_q):
    weight = torch.randn(4, 6, dtype=torch.float64)
    weight[1], weight[2] = 0, weight[3]
    t = tightened(weight, torch.tensor(log_q, dtype=torch.float64), power)
    assert torch.linalg.eigvalsh(torch.diag(t) - weight @ weight.mT).min() >= -tol.EIGENVALUE * t.max()


def test_t_shrinks_with_the_power_towards_the_optimum():
    weight = torch.randn(30, 40, dtype=torch.float64)
    gram, zero = weight @ weight.mT, torch.zeros(30, dtype=torch.float64)
    traces = [tightened(weight, zero, power).sum() for power in (1, 2, 4, 8)]
    best = trace_optimal(gram)
    assert traces == sorted(traces, reverse=True)
    assert traces[-1] > best.sum()
    assert torch.linalg.eigvalsh(torch.diag(best) - gram).min() >= -tol.EIGENVALUE * best.max()


def test_the_optimum_of_a_convolution_holds_at_every_frequency_and_is_below_the_others():
    kernel = torch.randn(6, 4, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    operators = frequencies(kernel, (12, 12))
    gram = operators @ operators.mH
    best = trace_optimal(gram)
    assert torch.linalg.eigvalsh(torch.diag(best) - gram).min() >= -tol.EIGENVALUE * best.max()
    others = [tightened(kernel, torch.zeros(6, dtype=torch.float64), power).sum() for power in (1, 8)]
    assert best.sum() < min(others)
    assert best.sum() < 0.99 * 6 * torch.linalg.matrix_norm(operators, 2).max() ** 2
    assert best.sum() == pytest.approx(trace_optimal(gram, sweeps=1000).sum().item(), rel=1e-3)


def test_the_optimum_of_units_that_do_not_overlap_is_their_own_size():
    assert trace_optimal(torch.diag(torch.tensor([1.0, 4.0, 0.0], dtype=torch.float64))).tolist() == [1, 4, 0]


def test_the_optimum_for_nonnegative_weights_is_gershgorins():
    weight = torch.rand(8, 12, dtype=torch.float64)
    gram = weight @ weight.mT
    assert trace_optimal(gram).sum() == pytest.approx(gram.sum().item(), rel=1e-6)


def test_frequencies_are_made_where_the_kernel_is():
    assert frequencies(torch.rand(2, 3, 3, 3, device="meta"), (8, 8)).is_meta
