import griffe
import pytest

from website.roles import Roles


@pytest.fixture(scope="module")
def package():
    return griffe.load("sll_zoo", search_paths=["."], extensions=griffe.load_extensions(Roles))


def test_a_role_links_to_where_its_target_is_defined(package):
    assert (
        "[`evaluate`][sll_zoo.certificates.evaluation.evaluate]"
        in package["reports.plot.plot_certified_accuracy"].docstring.value
    )


def test_a_role_of_a_private_name_is_that_name(package):
    text = package["layers.Family.conv_block"].docstring.value
    assert "`_activated`" in text
    assert "][" not in text


def test_no_role_is_left(package):
    left = []
    waiting = [package]
    while waiting:
        thing = waiting.pop()
        waiting += [child for child in thing.members.values() if not child.is_alias]
        if thing.docstring and any(role in thing.docstring.value for role in (":func:", ":class:", ":meth:", ":mod:", ":attr:")):
            left.append(thing.path)
    assert left == []
