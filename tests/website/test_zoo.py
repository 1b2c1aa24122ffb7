"""The zoo's pages, in a browser: what they show is what the records and the samples say."""

from itertools import groupby

import pytest

from sll_zoo.functional.certificate import radius_label
from sll_zoo.reports.words import percent
from sll_zoo.zoo.folder import CHECKPOINTS
from sll_zoo.zoo.publishing.results import read_samples
from sll_zoo.zoo.records.record import read_records
from website.zoo.networks import networks

pytestmark = pytest.mark.slow

RECORDS = read_records()
NAME = "sll_nano.digits"
PATHS = [
    *("zoo/", f"zoo/{NAME}/", "zoo/sll_tiny.gtsrb_subset_26638/", "readme/", "explanations/", "guide/training/"),
    *("concepts/condition/", "concepts/certificates/", "reference/sll_zoo.layers/", "benchmarks/speed/", "benchmarks/published/"),
]
SCREENS = {
    "wide, light": {"viewport": {"width": 1300, "height": 900}, "color_scheme": "light"},
    "narrow, dark": {"viewport": {"width": 390, "height": 800}, "color_scheme": "dark"},
}


def column(page, name):
    """Return what a column of the table shows, in the rows that are shown."""
    cells = page.locator(f"#networks tbody tr:not([hidden]) [data-column={name}]")
    return [text.strip() for text in cells.all_inner_texts()]


@pytest.fixture
def table(visit):
    return visit("zoo/")


def test_the_table_is_sorted_by_number_and_by_word_with_the_unknown_last(table):
    heads = table.locator("#networks thead")
    known = sorted(row.cells["parameters"].value for row in networks() if row.cells["parameters"].value)
    unknown = [""] * (len(networks()) - len(known))
    heads.get_by_role("button", name="parameters").click()
    assert column(table, "parameters") == [f"{value:,}" for value in known] + unknown
    heads.get_by_role("button", name="parameters").press("Enter")
    assert column(table, "parameters") == [f"{value:,}" for value in reversed(known)] + unknown
    assert heads.locator("[aria-sort=descending]").count() == 1
    heads.get_by_role("button", name="data set").press("Space")
    assert column(table, "data") == sorted(column(table, "data"))


def test_the_table_is_filtered_and_certified_accuracy_is_that_at_the_chosen_radius(table):
    table.get_by_label("data set").select_option("cifar10")
    table.get_by_label("radius").select_option("72/255, L2")
    wanted = [row for row in networks() if row.cells["data"].text == "cifar10" and "72/255" in row.certified]
    assert column(table, "name") == [row.name for row in wanted]
    assert table.get_by_role("status").inner_text() == f"{len(wanted)} of {len(networks())} networks"
    table.locator("#networks thead").get_by_role("button", name="certified").click()
    found = [float(text.split()[1]) for text in column(table, "certified")]
    assert found == sorted((float(row.certified["72/255"].split()[0]) for row in wanted), reverse=True)
    table.get_by_label("measured").select_option("here")
    assert set(column(table, "name")) == {row.name for row in wanted if row.has_page}
    table.get_by_label("norm").select_option("Linf")
    assert column(table, "name") == []


def test_a_table_that_is_sorted_by_certified_accuracy_stays_sorted_at_another_radius(table):
    table.locator("#networks thead").get_by_role("button", name="certified").click()
    radii = [text.split()[0] for text in column(table, "certified") if text]
    assert len([radius for radius, _ in groupby(radii)]) == len(set(radii))
    for data, radius in (("cifar100", "72/255"), ("cifar10", "108/255")):
        table.get_by_label("data set").select_option(data)
        table.get_by_label("radius").select_option(f"{radius}, L2")
        rows = [row for row in networks() if row.cells["data"].text == data and radius in row.certified]
        found = [float(text.split()[1]) for text in column(table, "certified")]
        assert found == sorted((float(row.certified[radius].split()[0]) for row in rows), reverse=True)
        assert len(set(found)) > 1


def test_the_table_is_filtered_by_size_time_and_year(table):
    rows = [row for row in networks() if (row.cells["parameters"].value or 1e9) <= 1e6]
    table.get_by_label("parameters, at most").fill("1000000")
    assert column(table, "name") == [row.name for row in rows]
    rows = [row for row in rows if (row.cells["training"].value or 1e9) <= 1800]
    table.get_by_label("hours of training, at most").fill("0.5")
    assert column(table, "name") == [row.name for row in rows]
    year = next(row.year for row in rows if row.year)
    table.get_by_label("year").select_option(year)
    assert column(table, "name") == [row.name for row in rows if row.year == year]


def test_what_papers_published_is_said_to_be_not_measured_here_with_its_source(table):
    table.get_by_label("measured").select_option("elsewhere")
    assert set(column(table, "measured")) == {"not here"}
    assert all(column(table, "source"))
    assert not set(column(table, "name")) & set(RECORDS)


@pytest.mark.parametrize("name", [name for name in RECORDS if read_samples(CHECKPOINTS / name)])
def test_the_slider_moves_the_numbers_to_those_of_the_record(visit, name):
    page, measured = visit(f"zoo/{name}/"), RECORDS[name].measured
    result = page.locator(".zoo-result")
    for place, row in enumerate(measured.accuracy.certified):
        page.locator(".zoo-slider").get_by_role("button", name=row.label, exact=True).click()
        images = round(row.accuracy * measured.n)
        assert result.inner_text().startswith(f"{percent(row.accuracy)} certified")
        assert result.inner_text().endswith(f": {images} of {measured.n} images")
        classes = page.locator("#classes tbody tr")
        recorded = classes.locator(f"td:nth-child({place + 4})").all_inner_texts()
        assert classes.locator(".zoo-chosen").all_inner_texts() == recorded
    page.get_by_role("slider").press("Home")
    assert result.inner_text().startswith(f"{percent(measured.accuracy.clean)} certified at 0/255")
    page.get_by_role("slider").press("End")
    assert result.inner_text().startswith(percent(0))


def test_between_recorded_radii_the_slider_counts_the_samples(visit):
    page, rows = visit(f"zoo/{NAME}/"), read_samples(CHECKPOINTS / NAME)
    for value in (50, 150.5):
        page.get_by_role("slider").fill(str(value))
        images = sum(row.label == row.prediction and row.radius > value / 255 for row in rows)
        assert page.locator(".zoo-result").inner_text().endswith(f": {images} of {len(rows)} images")
    counts = [int(text or 0) for text in page.locator(".zoo-matrix td").all_inner_texts()[1:]]
    assert [sum(counts), sum(counts[::11])] == [len(rows), sum(row.label == row.prediction for row in rows)]


def test_every_number_of_the_record_is_there_without_a_script(visit):
    page = visit("zoo/", java_script_enabled=False)
    text = page.locator("#networks").inner_text()
    for name, record in RECORDS.items():
        assert percent(record.measured.accuracy.clean) in text
        assert all(percent(row.accuracy) in text for row in record.measured.accuracy.certified)
        page.goto(page.url.partition("/zoo/")[0] + f"/zoo/{name}/")
        own = page.locator("article").inner_text()
        assert all(radius_label(row.eps) in own and percent(row.accuracy) in own for row in record.measured.accuracy.certified)
        assert f'create_model("{name}", pretrained=True)' in own
        page.goto(page.url.partition("/zoo/")[0] + "/zoo/")


@pytest.mark.parametrize("screen", SCREENS)
@pytest.mark.parametrize("path", PATHS)
def test_pages_fit_the_screen_and_pass_axes_checks(visit, path, screen):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = visit(path, **SCREENS[screen])
    assert page.evaluate("document.documentElement.scrollWidth") == SCREENS[screen]["viewport"]["width"]
    found = axe.Axe().run(page, options={"rules": {"landmark-unique": {"enabled": False}}})  # the theme's own navigation
    assert not found.response["violations"], found.generate_report()
