import pickle

import pytest
import torch
from torch import distributed

from sll_zoo import CertifiedAccuracy
from sll_zoo.errors import ConfigError, InputError

RADII = (0.0, 0.2, 0.7)


def batches(sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for size in sizes:
        yield torch.randn(size, 5, generator=generator), torch.randint(5, (size,), generator=generator)


def reference(pairs, constants):
    """Count one image at a time."""
    counts, total = [0] * len(RADII), 0
    for logits, target in pairs:
        for row, label in zip(logits.double(), target.tolist(), strict=True):
            total += 1
            y = int(row.argmax())
            radius = min((row[y] - row[j]).item() / constants[y, j].item() for j in range(5) if j != y)
            for i, eps in enumerate(RADII):
                counts[i] += y == label and (eps == 0 or radius > eps)
    return [count / total for count in counts]


CONSTANTS = 0.5 + torch.rand(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_it_equals_a_loop_over_images():
    metric = CertifiedAccuracy(RADII)
    for logits, target in batches([7, 1, 0, 30]):
        metric.update(logits, target, CONSTANTS)
    assert metric.compute().tolist() == reference(batches([7, 1, 0, 30]), CONSTANTS)
    assert metric.total == 38


def test_a_number_stands_for_all_pairs():
    ((logits, target),) = batches([40])
    one, all_pairs = CertifiedAccuracy(RADII), CertifiedAccuracy(RADII)
    one.update(logits, target, 2**0.5)
    all_pairs.update(logits, target, torch.full((5, 5), 2**0.5, dtype=torch.float64))
    assert torch.equal(one.compute(), all_pairs.compute())


def test_ties_and_nan_are_never_certified_and_nan_is_not_accurate():
    metric = CertifiedAccuracy([0.0, 1e-9])
    metric.update(torch.tensor([[1.0, 1.0], [torch.nan, 0.0]]), torch.tensor([0, 0]), 1.0)
    assert metric.compute().tolist() == [0.5, 0.0]


def test_it_survives_reset_pickling_and_cloning():
    metric = CertifiedAccuracy(RADII)
    ((logits, target),) = batches([20])
    metric.update(logits, target, CONSTANTS)
    expected = metric.compute()
    assert torch.equal(pickle.loads(pickle.dumps(metric)).compute(), expected)
    assert torch.equal(metric.clone().compute(), expected)
    metric.reset()
    assert metric.total == 0


@pytest.mark.parametrize("radii", [[], [-0.1], [float("nan")], [float("inf")]])
def test_radii_that_are_none_are_refused(radii):
    with pytest.raises(ConfigError, match="radius"):
        CertifiedAccuracy(radii)


@pytest.mark.parametrize(
    ("logits", "target", "constants", "message"),
    [
        (torch.zeros(2, 3), torch.zeros(3, dtype=torch.long), 1.0, "shape"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.long), 1.0, "shape"),
        (torch.zeros(2, 3), torch.tensor([0, 3]), 1.0, "outside 0..2"),
        (torch.zeros(2, 3), torch.tensor([0, -1]), 1.0, "outside 0..2"),
        (torch.zeros(2, 3), torch.zeros(2), 1.0, "dtype torch.float32"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), torch.ones(2, 2), "shape \\(2, 2\\)"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), -1.0, "smallest value -1"),
        (torch.zeros(2, 3), torch.tensor([0, 1]), float("nan"), "nan"),
    ],
)
def test_what_does_not_fit_is_refused(logits, target, constants, message):
    with pytest.raises(InputError, match=message):
        CertifiedAccuracy().update(logits, target, constants)


def count_on_one_process(rank, world, address, results):
    distributed.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=world)
    metric = CertifiedAccuracy(RADII)
    for index, (logits, target) in enumerate(batches([7, 3, 11])):
        if index % world == rank:
            metric.update(logits, target, CONSTANTS)
    results[rank] = metric.compute().tolist()
    distributed.destroy_process_group()


def test_processes_add_their_counts(tmp_path):
    context = torch.multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        results = manager.dict()
        torch.multiprocessing.spawn(count_on_one_process, (2, tmp_path / "store", results), nprocs=2)
        assert list(results.values()) == [reference(batches([7, 3, 11]), CONSTANTS)] * 2
