import math

import pytest
import torch

from sll_zoo.errors import ConfigError
from sll_zoo.training.schedules import Constant, OneCycle, TriangularLR, WarmupCosineLR


def rates(schedule, steps, peak=2.0, **options):
    """Return the learning rate of each step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak, momentum=0.9)
    scheduler, seen = schedule(optimizer, steps, **options), []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_triangular_schedule_has_the_papers_corners():
    seen = rates(TriangularLR, 100)
    # Each rate is that of the middle of its step.
    assert max(seen) == pytest.approx(2 * (1 - 0.5 / 40 * 0.95))
    assert (seen[39] + seen[40]) / 2 == pytest.approx(2, rel=0.02)
    assert (seen[79] + seen[80]) / 2 == pytest.approx(0.1, rel=0.2)
    assert seen[0] == pytest.approx(2 * 0.5 / 40)
    assert 0 < seen[99] == pytest.approx(0.1 * 0.5 / 20)


def test_warmup_is_a_line_and_the_rest_half_a_cosine():
    seen = rates(WarmupCosineLR, 50, warmup=0.2)
    assert seen[:10] == pytest.approx([2 * (1 / 11 + 10 / 11 * step / 10) for step in range(10)])
    assert seen[10:] == pytest.approx([1 + math.cos(math.pi * step / 40) for step in range(40)])


def test_without_warmup_there_is_a_cosine_alone():
    assert rates(WarmupCosineLR, 8, warmup=0.0) == pytest.approx([1 + math.cos(math.pi * step / 8) for step in range(8)])


@pytest.mark.parametrize("warmup", [-0.1, 1.0, float("nan")])
def test_a_warmup_that_is_no_part_of_the_training_is_refused(warmup):
    with pytest.raises(ConfigError, match="warmup"):
        rates(WarmupCosineLR, 8, warmup=warmup)


def test_one_cycle_has_the_optimizers_rate_for_its_peak():
    seen = rates(OneCycle, 40, pct_start=0.25)
    assert seen[9] == max(seen) == pytest.approx(2)
    assert seen[0] == pytest.approx(2 / 25)
    assert seen[-1] < 1e-4


def test_constant_is_constant():
    assert rates(Constant, 5) == [2.0] * 5


@pytest.mark.parametrize("schedule", [TriangularLR, WarmupCosineLR, OneCycle, Constant])
@pytest.mark.parametrize("steps", [1, 2, 1000])
def test_no_training_is_too_short_and_no_rate_negative(schedule, steps):
    assert all(0 <= rate <= 2 for rate in rates(schedule, steps))


@pytest.mark.parametrize("schedule", [TriangularLR, WarmupCosineLR, OneCycle, Constant])
def test_each_group_keeps_its_share(schedule):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in (1.0, 0.1)]
    optimizer = torch.optim.Adam(groups)
    scheduler = schedule(optimizer, 20)
    for _ in range(15):
        optimizer.step()
        scheduler.step()
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert second == pytest.approx(first / 10)
