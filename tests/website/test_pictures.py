import re

import numpy as np
import pytest
import torch

from tests.checkouts import ROOT
from website import comparison, drawing, pictures, published_page
from website.published import published


def test_the_lead_that_is_drawn_is_1_lipschitz():
    a, b = np.random.default_rng(0).normal(size=(2, 1000, 2))
    assert (np.abs(pictures.lead(a) - pictures.lead(b)) <= np.linalg.norm(a - b, axis=-1)).all()


def test_no_choice_of_t_leaves_a_singular_value_above_one():
    weight = torch.randn(20, 30, dtype=torch.float64)
    for values in pictures.remaining(weight).values():
        assert values.max() <= 1 + 1e-12


@pytest.mark.parametrize("name", ["certificate", "families"])
def test_a_committed_picture_follows_the_page_in_light_and_dark(name):
    text = (ROOT / f"docs/assets/{name}.svg").read_text("utf-8")
    assert "prefers-color-scheme:dark" in text
    assert "var(--ink)" in text
    assert not any(colour in text for colour in drawing.INKS)
    assert "http" not in re.sub(r'(xmlns(:\w+)?=|rdf:resource=)"[^"]*"|"-//W3C[^>]*>', "", text)


def test_the_readmes_comparison_is_made_from_records_and_published_numbers():
    text = (ROOT / "README.md").read_text("utf-8")
    found = text.split(comparison.BEGIN)[1].split(comparison.END)[0].strip()
    assert found == comparison.rendered().strip(), "python -m website.comparison writes it"


def test_published_numbers_are_percentages_that_fall_with_the_radius():
    for one in published():
        numbers = [*([] if one.clean is None else [one.clean]), *one.certified.values()]
        assert numbers == sorted(numbers, reverse=True), one
        assert 0 < numbers[-1] < numbers[0] + 1e-9 <= 100, one
        assert one.source


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 120


def test_every_network_of_cifar10_whose_size_is_stated_is_in_the_picture():
    shown = published_page.points(lambda one: one.parameters, lambda record: record.parameters)
    stated = [one for one in published() if one.parameters and (one.data, one.norm) == ("cifar10", "L2")]
    assert sum(not point.ours and point.x is not None for point in shown) == len(stated)
    assert {"cpl_windows", "sll_tiny"} <= {point.name for point in shown if point.ours}


def test_every_published_number_is_in_the_tables_with_its_source():
    rows = published_page.tables().splitlines()
    for one in published():
        own = [row for row in rows if row.startswith(f"| {one.network} | {one.norm} |") and row.endswith(f"| {one.source} |")]
        assert any(_has(row, one) for row in own), one


def _has(row, one):
    _, _, _, clean, certified, _, _, _ = (cell.strip() for cell in row.split("|"))
    found = {radius: float(value) for value, _, radius in (part.partition(" at ") for part in certified.split(", "))}
    return clean == ("" if one.clean is None else f"{one.clean:g}") and found == one.certified
