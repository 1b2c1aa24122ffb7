import pytest
import torch

from sll_zoo.certificates import eigenvalues
from sll_zoo.functional.convolution import frequencies, torus
from tests import tolerances as tol


def grams(count, rows, columns, dtype=torch.complex128):
    factors = torch.randn(count, rows, columns, dtype=dtype, generator=torch.Generator().manual_seed(0))
    return factors @ factors.mH


@pytest.mark.parametrize(
    "matrices",
    [
        grams(30, 6, 9),
        grams(4, 5, 2, torch.float64),
        grams(1, 1, 1),
        grams(1, 4, 4).expand(5, -1, -1),  # all the same
        torch.zeros(3, 2, 2, dtype=torch.float64),
        torch.eye(4, dtype=torch.float64).repeat(3, 1, 1),
    ],
    ids=["full", "low_rank", "number", "same", "zero", "identity"],
)
def test_the_largest_eigenvalue_of_many_matrices(matrices):
    expected = torch.linalg.eigvalsh(matrices).amax().item()
    assert eigenvalues.largest_eigenvalue(matrices) == pytest.approx(expected, rel=2 * eigenvalues.CLOSE, abs=0)


@pytest.mark.parametrize("shape", [(3, 4, 3, 3), (2, 2, 5, 5), (1, 3, 3, 3)], ids=str)
@pytest.mark.parametrize("size", [(6, 7), (3, 2), (1, 1)], ids=str)
def test_grams_of_a_convolution_at_each_frequency_or_its_opposite(shape, size):
    kernel = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrices = frequencies(kernel, size).flatten(0, 1)
    grams, expected = eigenvalues.gram_matrices(kernel, size), matrices @ matrices.mH
    errors = [(part[:, None] - expected).abs().amax((2, 3)) for part in (grams, grams.conj())]
    distances = torch.minimum(*errors)
    assert max(distances.amin(0).max(), distances.amin(1).max()) < tol.SAME
    own_opposites = (2 - size[0] % 2) * (2 - size[1] % 2)
    assert len(grams) == (size[0] * size[1] + own_opposites) / 2


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (3, 5, 3, 3), (5, 3, 3, 3), (5, 3, 1, 1), (2, 2, 5, 5)], ids=str)
@pytest.mark.parametrize("padding_mode", ["zeros", "circular"])
def test_the_largest_ratio_is_that_of_the_singular_values(shape, padding_mode):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, dtype=torch.float64, generator=generator)
    t = torch.rand(shape[0], dtype=torch.float64, generator=generator) + 0.1
    x = torch.zeros(1, shape[1], *(6, 5)[: len(shape) - 2])
    scaled = weight / t.sqrt().view(-1, *(1,) * (len(shape) - 1))
    matrices = scaled if len(shape) == 2 else frequencies(scaled, torus(weight, x, padding_mode))
    expected = torch.linalg.matrix_norm(matrices, 2).amax().item() ** 2
    assert eigenvalues.largest_ratio(weight, 1 / t, x, padding_mode) == pytest.approx(expected, rel=tol.SAME, abs=0)


def test_a_wrong_guess_of_the_matrix_changes_nothing(monkeypatch):
    matrices = grams(20, 6, 6)
    right = eigenvalues.largest_eigenvalue(matrices)
    monkeypatch.setattr(eigenvalues, "guesses", lambda grams: -torch.linalg.eigvalsh(grams).amax(1))
    assert eigenvalues.largest_eigenvalue(matrices) == pytest.approx(right, rel=tol.EIGENVALUE)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("columns", [1, 3, 40])
def test_lanczos_finds_a_quotient_near_the_largest_and_none_above(columns, dtype):
    matrices = grams(5, 40, columns, dtype)
    expected = torch.linalg.eigvalsh(matrices).amax(1)
    found = eigenvalues.largest_quotients(lambda vectors: matrices @ vectors, torch.ones(5, 40, 1, dtype=dtype), 12)
    assert (found <= expected * (1 + tol.EIGENVALUE)).all()
    assert (found >= 0.99 * expected).all()


def test_numbers_that_are_none_prove_nothing():
    matrices = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    matrices[1, 2, 3] = torch.nan
    assert eigenvalues.largest_eigenvalue(matrices) == torch.inf


def test_lanczos_is_not_deceived_by_a_span_that_is_exhausted_or_by_numbers_that_overflow():
    matrices = torch.stack(
        [torch.diag(torch.tensor(row)) for row in ([2.0, 2.0, 1.0], [0.0, 0.0, 0.0], [1e308, 1e308, 1e308])]
    ).double()
    found = eigenvalues.largest_quotients(lambda vectors: matrices @ vectors, torch.ones(3, 3, 1, dtype=torch.float64), 8)
    assert found[0].item() == pytest.approx(2, rel=tol.EIGENVALUE)
    assert found[1] == 0
    assert found[2].isnan()
