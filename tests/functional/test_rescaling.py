import torch
from torch.nn import functional as F

from sll_zoo.functional.fast.products import full_precision
from sll_zoo.functional.rescaling import LOG_Q_LIMIT, abs_gram, gershgorin, safe_reciprocal
from tests import tolerances as tol


def test_gram_of_a_dense_weight_and_of_a_1x1_kernel_agree():
    weight = torch.randn(4, 6, dtype=torch.float64)
    torch.testing.assert_close(abs_gram(weight), abs_gram(weight[:, :, None, None]), rtol=0, atol=tol.SAME)


def test_gram_of_half_precision_weights_is_float32():
    assert abs_gram(torch.randn(3, 5, dtype=torch.bfloat16)).dtype == torch.float32


def test_t_does_not_change_when_q_is_scaled():
    gram, log_q = abs_gram(torch.randn(5, 9, dtype=torch.float64)), torch.randn(5, dtype=torch.float64)
    torch.testing.assert_close(gershgorin(gram, log_q), gershgorin(gram, log_q + 7), rtol=tol.SAME, atol=0)


def test_q_of_one_is_aol_and_has_the_smallest_trace():
    gram = abs_gram(torch.randn(5, 9, dtype=torch.float64))
    aol = gershgorin(gram, torch.zeros(5, dtype=torch.float64))
    torch.testing.assert_close(aol, gram.sum(1))
    for _ in range(20):
        assert gershgorin(gram, torch.randn(5, dtype=torch.float64)).sum() >= aol.sum()


def test_q_acts_on_two_axes():
    kernel = torch.randn(3, 2, 3, 3, dtype=torch.float64)
    log_q = torch.tensor([1.0, 0.0, -1.0], dtype=torch.float64, requires_grad=True)
    t = gershgorin(abs_gram(kernel), log_q)
    assert not torch.allclose(t, abs_gram(kernel).sum(1), rtol=0.1)
    (gradient,) = torch.autograd.grad(t.sum(), log_q)
    assert (gradient.abs() > 1e-3).all()


def test_an_extreme_q_neither_overflows_nor_loses_the_condition():
    weight = torch.randn(4, 6)
    t = gershgorin(abs_gram(weight), torch.tensor([1e6, 0.0, -1e6, 50.0]))
    assert t.isfinite().all()
    gram = weight.double() @ weight.double().mT
    assert torch.linalg.eigvalsh(torch.diag(t.double()) - gram).min() >= -1e-6 * t.max()
    assert LOG_Q_LIMIT < 44  # exp(2 · 44) overflows float32


def test_reciprocal_is_zero_where_t_is_unusable_and_its_gradient_finite():
    t = torch.tensor([2.0, 0.0, torch.inf, 1e-38, torch.nan], requires_grad=True)
    inverse = safe_reciprocal(t)
    assert inverse.tolist() == [0.5, 0, 0, 0, 0]
    inverse.sum().backward()
    assert t.grad.tolist() == [-0.25, 0, 0, 0, 0]


def test_full_precision_restores_the_switches():
    switch = torch.backends.cuda.matmul
    before = switch.fp32_precision
    try:
        switch.fp32_precision = "tf32"
        with full_precision("cuda"):
            assert switch.fp32_precision == "ieee"
            assert torch.backends.cudnn.conv.fp32_precision == "ieee"
        assert switch.fp32_precision == "tf32"
    finally:
        switch.fp32_precision = before


def test_autocast_does_not_reach_the_gram():
    weight = torch.randn(4, 300)
    with torch.autocast("cpu", torch.bfloat16):
        assert F.linear(weight, weight).dtype == torch.bfloat16
        with full_precision("cpu"):
            assert torch.equal(abs_gram(weight), (weight @ weight.mT).abs())
            assert abs_gram(weight).dtype == torch.float32
