import pytest
import torch
from PIL import Image

from sll_zoo.certificates.evaluation import Evaluation
from sll_zoo.reports.plot import _end_of_sight, _side_by_side, plot_certified_accuracy

RADII = (36 / 255, 72 / 255, 108 / 255, 1.0)


def evaluation(proved):
    label = torch.zeros(len(proved), dtype=torch.int64)
    counts = {eps: int((proved > eps).sum()) for eps in RADII}
    return Evaluation(
        label=label,
        prediction=label,
        rival=label + 1,
        proved=proved,
        slack=torch.zeros_like(proved),
        counts=counts,
        sound=False,
        seconds=1.0,
    )


def test_the_curve_is_cut_where_a_hundredth_is_left():
    proved = torch.cat([torch.linspace(0.1, 0.5, 995, dtype=torch.float64), torch.full((5,), 9.0, dtype=torch.float64)])
    assert 0.49 < _end_of_sight(evaluation(proved)) < 0.55


@pytest.mark.parametrize("proved", [torch.zeros(3), torch.full((3,), torch.inf), torch.tensor([0.2])])
def test_any_radii_are_drawn(proved, tmp_path):
    path = plot_certified_accuracy({"a": evaluation(proved.double())}, "title", tmp_path / "curve.png")
    with Image.open(path) as image:
        assert image.size == (1200, 800)


def test_labels_that_would_run_into_each_other_stand_in_two_lines():
    assert _side_by_side(["2/255", "8/255", "0.1"], [0.02, 0.08, 0.3]) == ["2/255", "8/255\n", "0.1"]
