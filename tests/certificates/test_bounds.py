import math

import pytest
import torch
from torch import nn

from sll_zoo.certificates import bounds
from sll_zoo.layers import FAMILIES, MaxMin, MeanShift, PatchDCT, SortLinear
from sll_zoo.models.structure import LAYERS
from tests.tolerances import SAME


@pytest.mark.parametrize(("norm", "other"), [("2", "inf"), ("inf", "2")])
def test_a_layer_is_bounded_only_in_a_norm_in_which_a_network_may_have_it(norm, other):
    alone = {kind for kind in (*bounds.UPPER_BOUNDS, *bounds.MOVING_AS_ONE) if kind in LAYERS[norm] and kind not in LAYERS[other]}
    assert {"2": nn.AdaptiveMaxPool2d, "inf": SortLinear}[norm] in alone
    for layer in (
        (nn.AdaptiveMaxPool2d(1), nn.ReLU(), MaxMin()) if norm == "2" else (SortLinear(3, 3).eval(), MeanShift(3).eval())
    ):
        assert type(layer) in alone
        x = torch.rand(1, 4, 3, 3) if norm == "2" else torch.rand(1, 3)
        assert bounds.lipschitz_upper_bound(layer, x, norm)[1] == 1
        assert bounds.lipschitz_upper_bound(layer, x, other)[1] == math.inf
    for kind in LAYERS[norm]:  # what is neither bounded nor moving is a family's layer, which is folded before it is bounded
        known = kind in bounds.UPPER_BOUNDS or kind in bounds.MOVING_AS_ONE
        assert known or any(kind in family.classes for family in FAMILIES.values()) or kind is PatchDCT


@pytest.mark.parametrize("distance", [0.0, 1e-12, 1e-6, 0.09, 0.11])
def test_distances_of_rows_are_as_exact_for_close_ones(distance):
    weight = torch.randn(40, 300, dtype=torch.float64)
    step = torch.linalg.qr(weight[:2].mT).Q[:, 1]  # across the first row
    weight[7] = 3 * (weight[0] / weight[0].norm() + distance * step)
    rows = bounds.unit_rows(weight)
    direct = torch.linalg.vector_norm(rows[:, None] - rows, dim=2)
    torch.testing.assert_close(bounds.unit_rows_distances(weight), direct, rtol=0, atol=SAME)
