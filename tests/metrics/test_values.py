import copy
import math
import pickle

import pytest
import torch
from matplotlib import pyplot
from torchmetrics import MetricCollection

from sll_zoo import CertifiedAccuracy, CertifiedAccuracyCurve, MeanCertifiedRadius
from tests.metrics import loop

RADII = (0.0, 0.3, 0.7)
CLASSES = 5
POINTS = torch.randn(CLASSES, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
CONSTANTS = torch.cdist(POINTS, POINTS, compute_mode="donot_use_mm_for_euclid_dist")
METRICS = (CertifiedAccuracy, MeanCertifiedRadius, CertifiedAccuracyCurve)
every_metric = pytest.mark.parametrize("kind", METRICS)
every_average = pytest.mark.parametrize("average", ["micro", "macro", None])
LAST_BIT = 2**-52


def batches(sizes=(7, 1, 0, 30), labels=CLASSES):
    generator = torch.Generator().manual_seed(0)
    for size in sizes:
        logits = torch.randn(size, CLASSES, generator=generator, dtype=torch.float64)
        yield logits, torch.randint(labels, (size,), generator=generator)


def updated(metric, **options):
    for logits, target in batches(**options):
        metric.update(logits, target, CONSTANTS)
    return metric


def assert_same(actual, expected, rtol=0.0):
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=0, equal_nan=True)


@every_average
@pytest.mark.parametrize("labels", [CLASSES, CLASSES - 2])
def test_they_equal_a_loop_over_images_and_classes(average, labels):
    found = loop.certificates(batches(labels=labels), CONSTANTS.tolist())
    options = {"average": average, "num_classes": CLASSES}
    accuracy = updated(CertifiedAccuracy(RADII, **options), labels=labels).compute()
    assert accuracy.shape == ((CLASSES, len(RADII)) if average is None else (len(RADII),))
    for eps, column in zip(RADII, accuracy.unbind(-1), strict=True):
        assert_same(column, torch.tensor(loop.accuracy(found, eps, **options), dtype=torch.float64), LAST_BIT)
    mean = updated(MeanCertifiedRadius(cap=0.4, **options), labels=labels).compute()
    assert_same(mean, torch.tensor(loop.mean_radius(found, 0.4, **options), dtype=torch.float64), 2 * LAST_BIT)


@every_average
def test_the_curve_is_certified_accuracy_at_every_radius(average):
    options = {"average": average, "num_classes": CLASSES}
    radii, accuracy = updated(CertifiedAccuracyCurve(**options)).compute()
    curves = [*zip(radii, accuracy, strict=True)] if average is None else [(radii, accuracy)]
    asked = [0.0, *torch.cat([steps for steps, _ in curves]).tolist()[1:], 0.3, 99.0]
    expected = updated(CertifiedAccuracy(asked, **options)).compute().reshape(len(curves), -1)
    for (steps, values), row in zip(curves, expected, strict=True):
        assert (steps[0], values[-1]) == (0, 0)
        at = torch.searchsorted(steps, torch.tensor(asked, dtype=torch.float64), right=True) - 1
        assert_same(values[at], row, LAST_BIT)


def test_averages_of_one_class_agree_and_a_number_stands_for_all_pairs():
    logits, target = torch.rand(9, 4), torch.full((9,), 2)
    micro, macro = CertifiedAccuracy(RADII), CertifiedAccuracy(RADII, average="macro", num_classes=4)
    micro.update(logits, target, 2**0.5)
    macro.update(logits, target, torch.full((4, 4), 2**0.5, dtype=torch.float64))
    assert_same(micro.compute(), macro.compute())


def test_ties_and_nan_are_never_certified_and_nan_is_not_accurate():
    metric = MetricCollection([CertifiedAccuracy([0.0, 5e-324]), MeanCertifiedRadius(), CertifiedAccuracyCurve()])
    metric.update(torch.tensor([[1.0, 1.0], [torch.nan, 0.0], [torch.inf, 0.0]]), torch.tensor([0, 0, 0]), 1.0)
    values = metric.compute()
    assert values["CertifiedAccuracy"].tolist() == [1 / 3, 0.0]
    assert values["MeanCertifiedRadius"] == 0
    assert [value.tolist() for value in values["CertifiedAccuracyCurve"]] == [[0.0, 0.0], [1 / 3, 0.0]]


def test_float32_logits_are_compared_in_float64():
    # In float32 both the radius and 0.1 are 0.100000001490116; of the two real numbers, the radius is the larger one.
    metric = CertifiedAccuracy([0.1, 0.1000000015])
    metric.update(torch.tensor([[0.1, 0.0]]), torch.tensor([0]), 1.0)
    assert metric.compute().tolist() == [1.0, 0.0]


def test_an_infinite_radius_makes_the_mean_infinite_with_a_warning_and_a_cap_finite():
    plain, capped, curve = MeanCertifiedRadius(), MeanCertifiedRadius(cap=8.0), CertifiedAccuracyCurve()
    for metric in (plain, capped, curve):
        metric.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]), 0.0)
    with pytest.warns(UserWarning, match=" 1 .*cap="):
        assert plain.compute() == math.inf
    assert capped.compute() == 4.0
    assert [values.tolist() for values in curve.compute()] == [0.0, 0.5]  # torchmetrics makes one value a scalar
    assert curve.plot()[1].lines
    pyplot.close("all")


def test_a_cap_is_no_state():
    radii = MetricCollection({"all": MeanCertifiedRadius(), "capped": MeanCertifiedRadius(cap=0.5)})
    radii.update(torch.tensor([[0.2, 0.0]]), torch.tensor([0]), 1.0)
    radii.update(torch.tensor([[2.0, 0.0]]), torch.tensor([0]), 1.0)
    assert {name: round(value.item(), 6) for name, value in radii.compute().items()} == {"all": 1.1, "capped": 0.35}


def test_other_radii_and_averages_are_counted_apart_though_they_agree_after_the_first_batch():
    kinds = {
        "small": {"radii": [0.1]},
        "large": {"radii": [1.0]},
        "macro": {"radii": [1.0], "average": "macro", "num_classes": 2},
    }
    metrics = MetricCollection({name: CertifiedAccuracy(**options) for name, options in kinds.items()})
    metrics.update(torch.tensor([[9.0, 0.0]]), torch.tensor([0]), 1.0)
    metrics.update(torch.tensor([[0.5, 0.0], [0.0, 9.0]]), torch.tensor([0, 1]), 1.0)
    assert metrics.compute() == {"small": 1.0, "large": 2 / 3, "macro": 0.75}


@every_metric
@every_average
def test_before_the_first_image_there_is_no_value(kind, average):
    metric = kind(average=average, num_classes=CLASSES)
    with pytest.warns(UserWarning, match="before the ``update``"):
        value = metric.compute()
    if kind is CertifiedAccuracyCurve:
        value = torch.stack(value[1]) if average is None else value[1]
    assert value.isnan().all()


@every_metric
@every_average
def test_they_survive_pickling_cloning_reset_and_a_state_dict(kind, average):
    metric = updated(kind(average=average, num_classes=CLASSES))
    twins = [pickle.loads(pickle.dumps(metric)), metric.clone(), copy.deepcopy(metric)]
    metric.persistent(True)
    twins.append(kind(average=average, num_classes=CLASSES))
    twins[-1].load_state_dict(metric.state_dict())
    expected = metric.compute()
    for twin in twins[:-1]:
        assert_same(twin.compute(), expected)
    metric.reset()
    assert metric.update_count == 0
    assert_same(updated(metric).compute(), expected)


@every_metric
def test_no_dtype_rounds_them(kind):
    expected = updated(kind()).compute()
    for change in (
        lambda metric: metric.set_dtype(torch.float16),
        lambda metric: metric.half(),
        lambda metric: metric.to(torch.bfloat16),
        lambda metric: torch.nn.ModuleList([metric]).half()[0],
    ):
        metric = updated(change(updated(kind())))
        metric.reset()
        assert_same(updated(change(metric)).compute(), expected)
        assert_same(change(updated(kind())).compute(), expected)


@every_metric
@every_average
def test_forward_gives_the_batch_and_keeps_the_whole(kind, average):
    metric, whole = kind(average=average, num_classes=CLASSES), updated(kind(average=average, num_classes=CLASSES))
    for logits, target in batches([7, 30]):
        alone = kind(average=average, num_classes=CLASSES)
        alone.update(logits, target, CONSTANTS)
        assert_same(metric(logits, target, CONSTANTS), alone.compute())
    assert_same(metric.compute(), updated(kind(average=average, num_classes=CLASSES), sizes=[7, 30]).compute())
    merged = kind(average=average, num_classes=CLASSES)
    merged.update(*next(iter(batches([0]))), CONSTANTS)
    merged.merge_state(whole)
    assert_same(merged.compute(), whole.compute())


def test_a_collection_keeps_the_radii_once():
    alone = [updated(kind()).compute() for kind in METRICS]
    metrics = updated(MetricCollection([kind() for kind in METRICS]))
    values = metrics.compute()
    assert sorted(map(sorted, metrics.compute_groups.values())) == [
        ["CertifiedAccuracy"],
        ["CertifiedAccuracyCurve", "MeanCertifiedRadius"],
    ]
    assert_same([values["CertifiedAccuracy"], values["MeanCertifiedRadius"]], alone[:2])
    assert_same(values["CertifiedAccuracyCurve"], alone[2])


@every_metric
@every_average
def test_plots_are_torchmetrics_own(kind, average):
    metric = updated(kind(average=average, num_classes=CLASSES))
    _, axes = metric.plot()
    assert axes.lines
    given = pyplot.figure().subplots()
    assert metric.plot(metric.compute(), ax=given)[1] is given
    if kind is CertifiedAccuracy:
        assert axes.get_legend().get_texts()[1].get_text() == "L2, ε = 72/255"
    if kind is not CertifiedAccuracyCurve:
        metric.plot([metric.compute(), metric.compute()])
    pyplot.close("all")
