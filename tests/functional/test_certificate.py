import subprocess
import sys

import pytest
import torch

from sll_zoo.functional.certificate import PIECE, certified_counts, certified_radius, limiting_class, radius_label

INF, NAN = float("inf"), float("nan")


def reference(logits, constants):
    """One image and one class at a time."""
    prediction, radius = [], []
    for row in logits.tolist():
        y = max(range(len(row)), key=row.__getitem__)
        bound = INF
        for j, value in enumerate(row):
            if j != y:
                margin = row[y] - value
                bound = min(bound, 0.0 if margin <= 0 else INF if constants[y][j] == 0 else margin / constants[y][j])
        prediction.append(y)
        radius.append(bound)
    return prediction, radius


def test_radius_equals_a_loop_over_images_and_classes():
    logits = torch.randn(50, 7, dtype=torch.float64)
    points = torch.randn(7, 3, dtype=torch.float64)
    constants = torch.cdist(points, points)
    prediction, radius = certified_radius(logits, constants)
    expected = reference(logits, constants.tolist())
    assert prediction.tolist() == expected[0]
    assert radius.tolist() == pytest.approx(expected[1], rel=1e-14)
    rows = torch.arange(50)
    rival = limiting_class(logits, constants)
    assert torch.equal((logits[rows, prediction] - logits[rows, rival]) / constants[prediction, rival], radius)


def test_the_runner_up_is_not_always_the_class_that_limits():
    logits = torch.tensor([[1.0, 0.9, 0.0]])
    constants = torch.tensor([[0.0, 0.1, 10.0], [0.1, 0, 1], [10.0, 1, 0]])
    assert certified_radius(logits, constants)[1].item() == pytest.approx(0.1)
    assert limiting_class(logits, constants).tolist() == [2]
    assert limiting_class(logits, torch.tensor(1.0)).tolist() == [1]


def test_a_number_stands_for_every_pair():
    logits = torch.tensor([[3.0, 1.0, 0.0]])
    assert certified_radius(logits, torch.tensor(2.0))[1].item() == 1.0


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([1.0, 1.0, 0.0], 0.0),  # a tie at the top
        ([1.0, 0.0, 0.0], 0.5),  # a tie below it
        ([NAN, 1.0, 0.0], 0.0),
        ([1.0, NAN, 0.0], 0.0),
        ([INF, 1.0, 0.0], 0.0),
        ([1.0, 0.0, -INF], 0.0),
    ],
)
def test_ties_and_what_is_not_finite_have_radius_zero(row, expected):
    assert certified_radius(torch.tensor([row]), torch.tensor(2.0))[1].item() == expected


def test_duplicate_rows_of_the_head_cannot_overtake_and_cannot_be_certified_when_tied():
    constants = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    radius = certified_radius(torch.tensor([[2.0, 1.0, 0.0], [2.0, 2.0, 0.0]]), constants)[1]
    assert radius.tolist() == [2.0, 0.0]


def test_a_single_class_is_certain_and_an_empty_batch_is_empty():
    assert certified_radius(torch.zeros(2, 1), torch.zeros(1, 1))[1].tolist() == [INF, INF]
    assert len(certified_radius(torch.zeros(0, 3), torch.ones(3, 3))[1]) == 0


def test_counts_are_strict_but_for_radius_zero():
    prediction, radius, target = torch.tensor([0, 0, 1]), torch.tensor([0.5, 0.0, 9.0]), torch.tensor([0, 0, 0])
    assert certified_counts(prediction, radius, target, [0.0, 0.25, 0.5, 1.0]).tolist() == [2, 1, 0, 0]


def test_labels_are_the_literatures():
    assert [radius_label(eps) for eps in (36 / 255, 108 / 255, 1.0, 0.5, 0.0)] == ["36/255", "108/255", "1", "0.5", "0"]


def test_pieces_of_the_classes_give_the_radius_of_all():
    logits, points = torch.randn(400, 2000), torch.randn(2000, 3, dtype=torch.float64)
    assert logits.numel() > 2 * PIECE
    constants = torch.cdist(points, points)
    prediction, radius = certified_radius(logits, constants)
    margins = logits.double().gather(1, prediction[:, None]) - logits
    ratios = (margins / constants[prediction]).scatter(1, prediction[:, None], INF)
    assert torch.equal(radius, ratios.amin(1))


MEMORY = """
import re
from pathlib import Path
import torch
from sll_zoo.functional.certificate import certified_radius
logits, constants = torch.zeros(10_000, 1_000, dtype=torch.float64), torch.ones(1_000, 1_000, dtype=torch.float64)
logits[:, 0] = 1
def peak():  # of this process: what getrusage says begins with the memory of the process that started it
    return re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
before = peak()
certified_radius(logits, constants)
print(before, peak())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_does_not_grow_with_images_times_classes():
    shown = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout
    before, after = (1024 * int(kilobytes) for kilobytes in shown.split())
    # One copy of the logits takes 80 MB: the whole, with libraries and data, stays below 1 GB, and no such copy is made.
    assert after < 2**30
    assert after - before < 80e6
