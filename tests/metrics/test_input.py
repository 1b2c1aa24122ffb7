import math

import pytest
import torch

from sll_zoo import CertifiedAccuracy, CertifiedAccuracyCurve, MeanCertifiedRadius
from sll_zoo.errors import ConfigError, InputError

every_metric = pytest.mark.parametrize("kind", [CertifiedAccuracy, MeanCertifiedRadius, CertifiedAccuracyCurve])


@every_metric
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"average": "weighted"}, "weighted"),
        ({"average": "macro"}, "num_classes=None"),
        ({"average": None, "num_classes": 0}, "=0"),
    ],
)
def test_averages_that_are_none_are_refused(kind, options, message):
    with pytest.raises(ConfigError, match=message):
        kind(**options)


@pytest.mark.parametrize("radii", [[], [-0.1], [math.nan], [math.inf]])
def test_radii_and_caps_that_are_none_are_refused(radii):
    with pytest.raises(ConfigError, match="radii="):
        CertifiedAccuracy(radii)
    with pytest.raises(ConfigError, match="cap="):
        MeanCertifiedRadius(cap=min([-value for value in radii if value > 0], default=math.nan))


LOGITS, TARGET = torch.zeros(2, 3), torch.tensor([0, 1])


@every_metric
@pytest.mark.parametrize(
    ("logits", "target", "constants", "message"),
    [
        (LOGITS, torch.tensor([0, 1, 2]), 1.0, r"target .*\(3,\)"),
        (torch.zeros(2), TARGET, 1.0, r"\(2,\) .*\(2,\)"),
        (torch.zeros(2, 0), TARGET, 1.0, r"\(2, 0\)"),
        (LOGITS, torch.tensor([0, 3]), 1.0, "0 to 3.*0 to 2"),
        (LOGITS, torch.tensor([0, -1]), 1.0, "-1 to 0"),
        (LOGITS, torch.zeros(2), 1.0, "target .* torch.float32"),
        (LOGITS, torch.tensor([True, False]), 1.0, "target .* torch.bool"),
        (LOGITS.half(), TARGET, 1.0, "logits .*torch.float16"),
        (LOGITS.bfloat16(), TARGET, 1.0, "logits .* torch.bfloat16"),
        (LOGITS.long(), TARGET, 1.0, "logits .* torch.int64"),
        (LOGITS, TARGET, torch.ones(2, 2), r"\(2, 2\) .*3 "),
        (LOGITS, TARGET, torch.ones(3), r"pairwise_lipschitz .*\(3,\)"),
        (LOGITS, TARGET, -1.0, "-1 to -1"),
        (LOGITS, TARGET, math.nan, "nan"),
        (LOGITS, TARGET, torch.full((3, 3), math.inf), "inf"),
        (LOGITS, TARGET, torch.eye(3) - 0.5, "-0.5"),
        (LOGITS, TARGET, torch.ones(3, 3).triu(), "not symmetric"),
        (LOGITS.to("meta"), TARGET, 1.0, "cpu, logits on meta, target on cpu"),
        (LOGITS, TARGET.to("meta"), 1.0, "target on meta"),
        (LOGITS, TARGET, torch.ones(3, 3, device="meta"), "pairwise_lipschitz on meta"),
        (LOGITS.to("meta"), TARGET.to("meta"), 1.0, "metric.to\\(device\\)"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_counted(kind, logits, target, constants, message):
    metric = kind()
    metric.update(torch.eye(3), torch.tensor([0, 1, 1]), 1.0)
    expected = metric.clone().compute()
    with pytest.raises(InputError, match=message):
        metric.update(logits, target, constants)
    torch.testing.assert_close(metric.compute(), expected, rtol=0, atol=0)


def test_another_number_of_classes_is_refused():
    with pytest.raises(InputError, match=r"3 .* 5"):
        CertifiedAccuracy(average="macro", num_classes=5).update(LOGITS, TARGET, 1.0)


def test_constants_rounded_in_float32_are_symmetric_enough():
    points = torch.randn(50, 4)
    CertifiedAccuracy().update(torch.randn(3, 50), torch.tensor([0, 1, 49]), torch.cdist(points, points))
