import pytest
import torch

from sll_zoo.functional import orthogonal
from sll_zoo.functional.orthogonal import block_reflector, cayley, normalised, of_unit_norm
from sll_zoo.layers import BROConv2d, OrthogonalConv2d, SandwichConv2d
from tests import tolerances as tol


@pytest.mark.parametrize("shape", [(5, 5), (7, 4), (4, 7), (3, 6, 4)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_cayley_gives_orthonormal_columns_or_rows(shape, dtype):
    q = cayley(torch.randn(shape, dtype=dtype))
    gram = q.mH @ q if shape[-2] >= shape[-1] else q @ q.mH
    torch.testing.assert_close(gram, torch.eye(gram.shape[-1], dtype=dtype).expand_as(gram), rtol=0, atol=tol.SAME)


def test_sandwich_matrices_satisfy_their_condition():
    q = cayley(torch.randn(9, 4, dtype=torch.float64))
    a, b = q[:4].mT, q[4:].mT
    torch.testing.assert_close(a @ a.mT + b @ b.mT, torch.eye(4, dtype=torch.float64), rtol=0, atol=tol.SAME)


@pytest.mark.parametrize("scale", [0.0, 1e-20, 1.0, 1e18])
def test_normalising_neither_overflows_nor_divides_by_zero(scale):
    m = (scale * torch.randn(4, 3)).requires_grad_()
    unit = normalised(m, torch.tensor(2.0).log())
    assert unit.norm().item() == pytest.approx(2.0 if scale else 0.0)
    unit.sum().backward()
    assert m.grad.isfinite().all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("edge", [1, 3, 11, 63])
@pytest.mark.parametrize(
    ("kind", "matrices"),
    [
        (BROConv2d, BROConv2d.matrices),
        (OrthogonalConv2d, OrthogonalConv2d.matrices),
        (SandwichConv2d, SandwichConv2d.factors),
    ],
)
def test_kernels_of_any_edge_and_size_stretch_nothing_at_any_frequency(kind, matrices, edge, seed):
    torch.manual_seed(seed)
    layer = kind(2, 4, edge).double()
    with torch.no_grad():
        layer.weight.copy_(1 + 1e-3 * torch.randn_like(layer.weight))  # taps that add up
        if kind is not BROConv2d:  # which has no use for the size of its weight
            layer.log_norm.fill_(100)
        assert torch.linalg.matrix_norm(matrices(layer, (2, 2)), 2).max() <= 1 + tol.GAIN


@pytest.mark.parametrize("rank", [1, 100, 200])
@pytest.mark.parametrize("spread", [0.0, 1e-8, 1e-6, 1e-4])
def test_a_block_reflector_stretches_nothing_whatever_the_rank_of_its_weight(spread, rank):
    rows = torch.randn(1, 200, dtype=torch.float64).expand(rank, 200)
    v = of_unit_norm(rows + spread * torch.randn(rank, 200, dtype=torch.float64)).requires_grad_()
    q = block_reflector(v, 200, 200)
    assert torch.linalg.matrix_norm(q, 2) <= 1 + tol.GAIN
    (q * torch.randn(200, 200)).sum().backward()
    assert v.grad.abs().max() < 1e8


MAPS = {"cayley": cayley, "block_reflector": lambda v, dtype=None: block_reflector(v, 2, min(v.shape[1], 3), dtype)}


@pytest.mark.parametrize("shape", [(3, 3), (5, 3), (3, 5)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("matrix_of", MAPS.values(), ids=MAPS)
def test_derivatives_in_closed_form_are_those_of_the_formula(matrix_of, dtype, shape):
    m = torch.randn(2, *shape, dtype=dtype, requires_grad=True)
    if matrix_of is not cayley:
        m = m[0, :2].detach().requires_grad_()  # of full rank
    assert torch.autograd.gradcheck(matrix_of, m)
    assert torch.autograd.gradgradcheck(matrix_of, m)
    by_formula = torch.func.vmap(matrix_of)(m[None])[0]
    torch.testing.assert_close(matrix_of(m), by_formula, rtol=0, atol=tol.SAME)


@pytest.mark.parametrize("shape", [(2, 5), (3, 3)])
def test_the_derivative_of_a_block_reflector_holds_for_any_ridge(monkeypatch, shape):
    monkeypatch.setattr(orthogonal, "RIDGE", 0.3)
    assert torch.autograd.gradcheck(MAPS["block_reflector"], torch.randn(shape, dtype=torch.float64, requires_grad=True))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("cayley", (3, 3)), ("cayley", (5, 3)), ("cayley", (3, 5)), ("block_reflector", (2, 3)), ("block_reflector", (2, 5))],
)
def test_derivatives_in_the_precision_of_the_images_even_under_autocast(name, shape):
    m = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    found = []
    for dtype in (torch.float64, torch.float32):
        q = MAPS[name](m, dtype=dtype)
        assert q.dtype == dtype
        with torch.autocast("cpu", torch.bfloat16):
            found += torch.autograd.grad((q * torch.arange(q.numel()).view_as(q)).sum(), m)
    torch.testing.assert_close(found[1], found[0], rtol=tol.FLOAT32, atol=tol.FLOAT32 * found[0].abs().max().item())


@pytest.mark.parametrize("kind", [OrthogonalConv2d, BROConv2d, SandwichConv2d])
def test_a_circular_layer_compiles_for_images_of_any_size(kind):
    layer = kind(3, 2, 3).double()
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    for size in ((5, 4), (7, 6), (2, 9)):
        x = torch.rand(2, 3, *size, dtype=torch.float64)
        torch.testing.assert_close(compiled(x), layer(x), rtol=0, atol=tol.SAME)
