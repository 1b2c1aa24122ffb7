import pytest
import torch

from sll_zoo.certificates import bounds
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
    assert bounds._largest_eigenvalue(matrices) == pytest.approx(expected, rel=2 * bounds.CLOSE, abs=0)


def test_a_wrong_guess_of_the_matrix_changes_nothing(monkeypatch):
    matrices = grams(20, 6, 6)
    right = bounds._largest_eigenvalue(matrices)
    monkeypatch.setattr(bounds, "_gains", lambda grams: -torch.linalg.eigvalsh(grams).amax(1))
    assert bounds._largest_eigenvalue(matrices) == pytest.approx(right, rel=tol.EIGENVALUE)
