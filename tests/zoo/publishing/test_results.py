"""What is shipped about single images gives the record's numbers, and stays out of what is sent elsewhere."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sll_zoo
from sll_zoo.certificates.evaluation import Evaluation
from sll_zoo.functional.certificate import certified_counts
from sll_zoo.zoo.folder import CHECKPOINTS
from sll_zoo.zoo.publishing.results import IMAGES_FILE, RESULTS, SAMPLES_FILE, read_samples, remove_results, write_results
from sll_zoo.zoo.records.record import read_records
from tests.tolerances import OTHER_MACHINE, WRITTEN_RADIUS

RECORDS = read_records()
NAME = "sll_nano.digits"


@pytest.fixture
def evaluation(pretrained, digits):
    return sll_zoo.evaluate(pretrained, digits.test_dataloader())


@pytest.mark.parametrize("name", RECORDS)
def test_the_shipped_samples_give_the_records_accuracies_exactly(name):
    measured, rows = RECORDS[name].measured, read_samples(CHECKPOINTS / name)
    assert [row.index for row in rows] == list(range(measured.n))
    label, prediction = (torch.tensor([getattr(row, column) for row in rows]) for column in ("label", "prediction"))
    radius = torch.tensor([row.radius for row in rows], dtype=torch.float64)
    eps = [row.eps for row in measured.accuracy.certified]
    clean, *certified = certified_counts(prediction, radius, label, [0.0, *eps]).tolist()
    assert clean / measured.n == measured.accuracy.clean
    assert [count / measured.n for count in certified] == [row.accuracy for row in measured.accuracy.certified]
    assert not any(row.rival == row.prediction for row in rows)
    sample = measured.sample
    assert [rows[place].prediction for place in sample.index] == list(sample.prediction)
    # Rounded down: never above what is recorded, but for the rounding of another machine.
    below = torch.tensor(sample.radius, dtype=torch.float64) - radius[list(sample.index)]
    assert below.min() > -OTHER_MACHINE
    assert below.max() < WRITTEN_RADIUS


@pytest.mark.parametrize("name", RECORDS)
def test_the_shipped_images_are_those_that_the_samples_mark(name):
    rows = read_samples(CHECKPOINTS / name)
    shown = [row.shown for row in rows if row.shown]
    assert [shown.count(mark) for mark in ("least", "most", "example")] == [8, 8, 10]
    right = sorted(row.radius for row in rows if row.label == row.prediction)
    assert sorted(row.radius for row in rows if row.shown == "least") == right[:8]
    assert sorted(row.radius for row in rows if row.shown == "most") == right[-8:]
    height, width, *_ = np.asarray(Image.open(CHECKPOINTS / name / IMAGES_FILE)).shape
    assert width % 26 == 0
    assert (width // 26) * height in (8 * 8, 32 * 32, 64 * 64)


def test_rows_and_images_are_those_of_the_evaluation(evaluation, digits, tmp_path):
    images, _ = digits.tensors("test")
    write_results(tmp_path, evaluation, lambda place: images[place])
    assert (tmp_path / SAMPLES_FILE).read_bytes() == (CHECKPOINTS / NAME / SAMPLES_FILE).read_bytes()
    rows = read_samples(tmp_path)
    for column in ("label", "prediction", "rival"):
        assert [getattr(row, column) for row in rows] == getattr(evaluation, column).tolist()
    sheet = np.asarray(Image.open(tmp_path / IMAGES_FILE))
    assert np.array_equal(sheet, np.asarray(Image.open(CHECKPOINTS / NAME / IMAGES_FILE)))
    for tile, row in zip(np.split(sheet, 26, 1), (row for row in rows if row.shown), strict=True):
        assert np.array_equal((tile / 255 * 16).round() / 16, images[row.index, 0].numpy())  # the 17 levels of grey
    remove_results(tmp_path)
    assert not any(tmp_path.iterdir())
    assert read_samples(tmp_path) == []


def test_a_radius_just_above_a_recorded_one_keeps_the_digits_that_say_so(tmp_path):
    eps = 36 / 255
    proved = torch.tensor([eps + 2e-8, eps, 0.5, torch.inf], dtype=torch.float64)
    label = torch.zeros(4, dtype=torch.int64)
    evaluation = Evaluation(label, label, label + 1, proved, torch.zeros(4), {eps: 3}, sound=False, seconds=1.0)
    write_results(tmp_path, evaluation, lambda _: torch.zeros(3, 4, 4))
    written = [row.radius for row in read_samples(tmp_path)]
    assert [radius > eps for radius in written] == [True, False, True, True]
    assert all(radius <= true for radius, true in zip(written, proved.tolist(), strict=True))
    proved[0] = np.nextafter(eps, 1)
    write_results(tmp_path, evaluation, lambda _: torch.zeros(3, 4, 4))
    assert [row.radius > eps for row in read_samples(tmp_path)] == [True, False, True, True]


def test_images_are_not_sent_to_the_hub_nor_pulled(tmp_path):
    """A network of one's own was measured on images of one's own."""
    assert {path.name for path in (CHECKPOINTS / NAME).iterdir()} >= set(RESULTS)
    sent = sll_zoo.publish(str(CHECKPOINTS / NAME), "zoo/name", dry_run=True).files
    pulled = {path.name for path in Path(sll_zoo.pull(NAME, tmp_path)).iterdir()}
    assert not set(RESULTS) & {*sent, *pulled}
