"""The page "Try it", in Chromium: what it says is what Python certifies, and nothing is sent anywhere."""

import json
import re
import shutil
import threading

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

import sll_zoo
from sll_zoo.deployment import export
from sll_zoo.deployment.browser import server_of, write_exported, write_network, write_page
from sll_zoo.deployment.browser.folder import DESCRIPTION_FILE, GRADIENT_FILE, NETWORK_FILE
from sll_zoo.reports.classification import classify
from sll_zoo.zoo.folder import CHECKPOINTS
from tests import tolerances as tol

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("npm") is None, reason="onnxruntime-web comes by npm")]
L2, LINF, EXPORTED = "sll_nano.digits", "sortnet_nano.digits", "exported"
TIED = "tied"  # all its logits are equal
# Copies of L2 of which one file is no network, or is described as one of other images.
NO_NETWORK, NO_GRADIENT, MISDESCRIBED = "no_network", "no_gradient", "misdescribed"
MINUTE = 60_000  # milliseconds


@pytest.fixture(scope="module")
def site(chromium, tmp_path_factory):  # noqa: ARG001 - without Chromium nothing is exported
    folder = tmp_path_factory.mktemp("site")
    write_page(folder, [L2, LINF, EXPORTED, TIED, NO_NETWORK, NO_GRADIENT, MISDESCRIBED])
    for name in (L2, LINF):
        write_network(folder / "networks" / name, model_of(name), name, CHECKPOINTS / name)
    for name in (NO_NETWORK, NO_GRADIENT, MISDESCRIBED):
        shutil.copytree(folder / "networks" / L2, folder / "networks" / name)
    (folder / "networks" / NO_NETWORK / NETWORK_FILE).write_text("no network")
    (folder / "networks" / NO_GRADIENT / GRADIENT_FILE).write_text("no gradient")
    description = folder / "networks" / MISDESCRIBED / DESCRIPTION_FILE
    description.write_text(json.dumps(json.loads(description.read_text()) | {"shape": [1, 4, 4], "images": []}))
    tied = model_of(L2)
    for parameter in tied.get_classifier().parameters():
        torch.nn.init.zeros_(parameter)
    write_network(folder / "networks" / TIED, tied, TIED)
    file = folder / "exported.onnx"
    export(model_of(L2), file)
    write_exported(folder / "networks" / EXPORTED, file)
    with server_of(folder, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def model_of(name):
    return sll_zoo.create_model(name, pretrained=True).eval()


@pytest.fixture
def page(chromium, site):
    """A page of the size of a telephone's; the test fails for a request elsewhere, and for anything on the console."""
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    asked, said = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    page.close()
    assert [url for url in asked if not url.startswith((site, "blob:"))] == []
    assert said == []


def opened(page, site, name):
    page.goto(f"{site}?network={name}")
    expect(page.locator("#status")).to_contain_text(f"{name} is ready", timeout=MINUTE)


def drop(page, path):
    """Give the page an image file, and return class, runner-up and radius that it shows."""
    page.set_input_files("#file", path)
    expect(page.locator("#status")).to_have_text("Done.", timeout=MINUTE)
    return page.text_content("#class"), page.text_content("#runner-up"), float(page.get_attribute("#radius", "data-value"))


@pytest.mark.parametrize("name", [L2, LINF, EXPORTED])
@pytest.mark.parametrize("size", [(8, 8), (61, 40)])
def test_a_dropped_image_has_the_class_and_the_radius_that_python_finds(name, size, site, page, tmp_path):
    model = model_of(LINF if name == LINF else L2)
    generator = np.random.default_rng(0)
    smooth = Image.fromarray(generator.integers(0, 256, (5, 4, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    smooth.save(tmp_path / "image.png")
    opened(page, site, name)
    shown = drop(page, tmp_path / "image.png")
    (image,), pixels = classify(model, [tmp_path / "image.png"])
    radius = float(sll_zoo.certify(model, pixels, sound=name != EXPORTED).radius)
    assert shown[:2] == (image.class_name, image.runner_up_name)
    assert shown[2] == pytest.approx(radius, abs=tol.FLOAT32 if name == EXPORTED else tol.SAME)
    assert page.text_content("#radius").endswith("Linf" if name == LINF else "L2")


@pytest.mark.parametrize("name", [L2, LINF])
def test_inside_the_radius_the_class_stays_and_the_search_finds_where_it_changes(name, site, page):
    opened(page, site, name)
    expect(page.locator("#examples button")).to_have_count(10)
    page.locator("#examples button").first.press("Enter")
    expect(page.locator("#verdict")).to_contain_text("inside the radius it cannot change", timeout=MINUTE)
    radius = float(page.get_attribute("#radius", "data-value"))
    page.locator("#length").fill(str(0.99 * radius))
    expect(page.locator("#difference-caption")).to_contain_text(re.compile(r"length 0\.[1-9]"), timeout=MINUTE)
    expect(page.locator("#verdict")).to_contain_text("inside the radius it cannot change")
    page.click("#nearest")
    expect(page.locator("#change")).to_contain_text("The class changes at length", timeout=MINUTE)
    length = float(re.search(r"at length ([\d.]+)", page.text_content("#change"))[1])
    assert radius < length < 2 * radius
    expect(page.locator("#verdict")).to_have_text(re.compile("^Now .*[^.]\\.$"))


def test_a_file_without_a_gradient_has_no_search_and_says_what_its_radius_is(site, page, tmp_path):
    opened(page, site, EXPORTED)
    Image.new("L", (8, 8), 100).save(tmp_path / "grey.png")
    drop(page, tmp_path / "grey.png")
    expect(page.locator("#search")).to_be_hidden()
    expect(page.locator("#rounding")).to_contain_text("exact arithmetic")
    expect(page.locator("#claim")).to_contain_text("in exact arithmetic")
    page.select_option("#network", L2)
    expect(page.locator("#status")).to_contain_text(f"{L2} is ready", timeout=MINUTE)
    drop(page, tmp_path / "grey.png")
    expect(page.locator("#claim")).not_to_contain_text("in exact arithmetic")


def test_at_a_tie_nothing_is_proved_and_the_image_itself_is_no_search(site, page, tmp_path):
    opened(page, site, TIED)
    Image.new("L", (8, 8), 100).save(tmp_path / "grey.png")
    assert drop(page, tmp_path / "grey.png")[2] == 0
    expect(page.locator("#claim")).to_contain_text("Nothing is proved")
    expect(page.locator("#verdict")).to_contain_text("the image itself")


def test_of_two_networks_that_are_chosen_at_once_only_the_last_offers_images(site, page):
    held, pictures = [], []
    page.on("request", lambda request: pictures.extend([request.url] if request.url.endswith("images.png") else []))
    page.route(f"**/{L2}/{NETWORK_FILE}", lambda route: held.append(route))
    with page.expect_request(f"**/{L2}/{NETWORK_FILE}", timeout=MINUTE):
        page.goto(f"{site}?network={L2}", wait_until="commit")
    page.select_option("#network", LINF)
    held[0].continue_()
    expect(page.locator("#status")).to_contain_text(f"{LINF} is ready", timeout=MINUTE)
    expect(page.locator("#examples button")).to_have_count(10)
    assert [url.split("/")[-2] for url in pictures] == [LINF]


def test_where_a_network_cannot_be_loaded_the_one_before_is_not_used(site, page, tmp_path):
    Image.new("L", (8, 8), 100).save(tmp_path / "grey.png")
    opened(page, site, L2)
    page.select_option("#network", NO_NETWORK)
    expect(page.locator("#status")).to_contain_text(f"{NO_NETWORK} cannot be loaded", timeout=MINUTE)
    page.set_input_files("#file", tmp_path / "grey.png")
    expect(page.locator("#status")).to_contain_text("No network is loaded")
    expect(page.locator("#result")).to_be_hidden()


def test_a_network_that_fails_is_told_apart_from_a_file_that_is_no_image(site, page, tmp_path):
    Image.new("L", (8, 8), 100).save(tmp_path / "grey.png")
    opened(page, site, MISDESCRIBED)
    page.set_input_files("#file", tmp_path / "grey.png")
    expect(page.locator("#status")).to_contain_text("The network cannot be run", timeout=MINUTE)


def test_a_search_that_fails_is_told_and_can_be_tried_again(site, page):
    opened(page, site, NO_GRADIENT)
    page.locator("#examples button").first.click()
    expect(page.locator("#status")).to_have_text("Done.", timeout=MINUTE)
    for _ in range(2):
        for search in (lambda: page.locator("#length").fill("0.1"), lambda: page.click("#nearest")):
            page.evaluate("document.getElementById('status').textContent = ''")
            search()
            expect(page.locator("#status")).to_contain_text("The search failed", timeout=MINUTE)
            expect(page.locator("#nearest")).to_be_enabled()
            expect(page.locator("#change")).to_be_empty()


def test_a_file_that_is_no_image_is_refused(site, page, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    opened(page, site, L2)
    page.set_input_files("#file", tmp_path / "text.png")
    expect(page.locator("#status")).to_contain_text("text.png cannot be read")


def test_the_page_is_accessible_and_fits_a_telephone(site, page):
    opened(page, site, L2)
    page.locator("#examples button").first.click()
    expect(page.locator("#search")).to_be_visible(timeout=MINUTE)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page)
        assert found.response["violations"] == [], found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
