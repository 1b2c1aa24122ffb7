import posixpath
import re
from importlib import import_module

import pytest
from mkdocs.config import load_config
from mkdocs.structure.files import get_files
from mkdocs.structure.pages import Page

from tests.checkouts import ROOT
from website import pages, reference


@pytest.fixture(scope="module")
def site():
    config = load_config(str(ROOT / "mkdocs.yml"))
    files = config.plugins.on_files(get_files(config), config=config)
    return config, files


def rendered(site, address):
    """Return the Markdown of a page of the site, as Python-Markdown gets it."""
    config, files = site
    file = files.get_file_from_path(address)
    return config.plugins.on_page_markdown(file.content_string, page=Page(None, file, config), config=config, files=files)


@pytest.mark.parametrize("address", ["explanations.md", "recurrent.md", "benchmarks/fine_tuning.md", "readme.md"])
def test_every_link_between_files_leads_to_a_page(site, address):
    _, files = site
    links = [link for link in re.findall(r"\]\(([^)\s#]+)", rendered(site, address)) if "://" not in link]
    assert links
    for link in links:
        assert files.get_file_from_path(posixpath.normpath(posixpath.join(posixpath.dirname(address), link))), link


def test_a_file_without_a_page_gets_one_that_shows_it(site):
    path = "configs/cifar10/recipes/sll_large_grown.yaml"
    assert (ROOT / path).read_text("utf-8").strip() in rendered(site, f"source/{path}.md")


def test_code_stays_as_it_is():
    code = "```\n[a](b.md)\n- c\n```\n`[a](b.md)`"
    assert pages._outside_code(code, lambda _: "") == "```\n[a](b.md)\n- c\n```" + "`[a](b.md)`"


def test_the_reference_names_every_public_name_with_its_sentence():
    import sll_zoo

    page = reference.page("sll_zoo", reference.packages()["sll_zoo"])
    rows = dict(re.findall(r"^\| \[`sll_zoo\.(\w+)`\]\[[\w.]+\] \| (.+) \|$", page, re.MULTILINE))
    assert rows.keys() == set(sll_zoo.__all__)


@pytest.mark.parametrize("folder", ["sll_zoo.data", "sll_zoo.layers", "sll_zoo.losses", "sll_zoo.metrics"])
def test_values_are_in_the_reference_as_well(folder):
    rows = re.findall(rf"^\| \[`{folder}\.(\w+)`\]", reference.page(folder, reference.packages()[folder]), re.MULTILINE)
    assert set(rows) == set(import_module(folder).__all__)


def test_each_module_stands_on_one_page_of_the_reference():
    listed = [module for modules in reference.packages().values() for module in modules]
    assert len(listed) == len(set(listed))
    assert {"sll_zoo.layers.sll", "sll_zoo.functional.fast.gram", "sll_zoo.errors"} <= set(listed)
