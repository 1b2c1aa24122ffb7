import base64
import csv
import dataclasses
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

import sll_zoo
from sll_zoo.certificates.evaluation import Evaluation
from sll_zoo.data import HeldOut, fingerprint, open_data
from sll_zoo.environment import weights_sha256
from sll_zoo.errors import ConfigError
from sll_zoo.reports.certification import (
    FILES,
    check_folder,
    confusions,
    describe_run,
    render_page,
    results_by_class,
    write_report,
)
from sll_zoo.zoo.records.record import read_records

COMMAND = "sll-zoo certify sll_nano.digits digits --out out"


@pytest.fixture
def data():
    return open_data("digits", (1, 8, 8), 10)


def measured(model, data):
    evaluation = sll_zoo.evaluate(model, data.batches())
    return describe_run(model, evaluation, data, COMMAND, "sll_nano.digits", fingerprint(data.batches())), evaluation


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.addresses, self.texts = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for key, value in attrs if key in ("src", "href", "srcset", "action", "data", "background")]

    def handle_data(self, data):
        if data.strip():
            self.texts.append(" ".join(data.split()))


def test_report_json_states_what_was_measured_on_what(pretrained, data, tmp_path):
    report, evaluation = measured(pretrained, data)
    write_report(tmp_path, report, evaluation, data)
    stated = json.loads((tmp_path / "report.json").read_text("utf-8"))
    record = read_records()["sll_nano.digits"]
    assert stated == dataclasses.asdict(report)
    assert stated["weights_sha256"] == record.sha256 == weights_sha256(pretrained)
    assert stated["counts"] == [round(400 * row.accuracy) for row in record.measured.accuracy.certified]
    assert all(type(count) is int for count in (stated["correct"], *stated["counts"]))
    assert (stated["n"], stated["available"], stated["parameters"]) == (400, 400, record.parameters)
    assert stated["correct"] == int(evaluation.correct.sum())
    assert (stated["dtype"], stated["device"], stated["slack"]) == ("float64", "cpu", 0)
    assert stated["versions"].keys() == {"python", "sll_zoo", "torch", "timm", "numpy"}


def test_samples_csv_gives_back_the_counts(pretrained, data, tmp_path):
    data = data.limited(130)
    report, evaluation = measured(pretrained, data)
    write_report(tmp_path, report, evaluation, data)
    with (tmp_path / "samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["index", "label", "prediction", "radius", "norm"]
    assert [int(row["index"]) for row in rows] == data.indices
    assert [int(row["label"]) for row in rows] == [data.samples[index][1].item() for index in data.indices]
    # Decimal digits that give back the same float64.
    assert [float(row["radius"]) for row in rows] == evaluation.proved.tolist()
    radii = np.array([float(row["radius"]) if row["label"] == row["prediction"] else 0 for row in rows])
    assert [int((radii > eps).sum()) for eps in report.radii] == report.counts
    assert radii.mean() == pytest.approx(report.mean_radius)


def test_the_page_needs_nothing_but_itself(pretrained, data, tmp_path):
    report, evaluation = measured(pretrained, data)
    page = Page(write_report(tmp_path, report, evaluation, data).read_text("utf-8"))
    assert "script" not in page.tags
    assert all(address.startswith("data:") for address in page.addresses)
    curve, *tiles = [address.partition("base64,")[2] for address in page.addresses if address.startswith("data:image/png")]
    assert base64.b64decode(curve) == (tmp_path / "curve.png").read_bytes()
    confused, tiles = tiles[: len(tiles) - 24], tiles[-24:]
    assert len(confused) == len(report.confusions) == 2
    order = evaluation.proved.argsort(stable=True).tolist()
    for tile, index in zip(tiles, [*order[:-13:-1], *order[:12]], strict=True):
        with Image.open(io.BytesIO(base64.b64decode(tile))) as image:
            assert np.array_equal(np.array(image), (255 * data.image(index)[0]).round().byte().numpy())


def test_the_page_says_what_was_measured_and_how_to_repeat_it(pretrained, data):
    report, evaluation = measured(pretrained, data)
    text = " ".join(Page(render_page(report, evaluation, data, b"")).texts)
    count, least = evaluation.counts[108 / 255], int(evaluation.proved.argmin())
    assert 0 < count < 400
    for words in (
        f"{evaluation.clean:.2%}".replace("%", " %"),
        f"108/255 {count} {count / 4:.2f} %",
        f"predicted {evaluation.prediction[least]} L2 radius {evaluation.proved[least]:.3f} image {least}",
        COMMAND,
        report.weights_sha256,
        report.data_sha256,
        "rounding in float64 is not subtracted",
        "It does not say that the class is right",
    ):
        assert words in text


def test_a_sound_page_says_what_was_subtracted(pretrained, data):
    report, evaluation = measured(pretrained, data)
    report = dataclasses.replace(report, sound=True, slack=1.5e-9)
    text = " ".join(Page(render_page(report, evaluation, data, b"")).texts)
    assert "at most 1.5e-09 was subtracted" in text
    assert "is not subtracted" not in text


def test_names_are_text_and_nothing_else(pretrained, data, tmp_path):
    names = ("<script>alert(1)</script>", '"quotes" & ampersands', "$dollars$", *"3456789")
    data = dataclasses.replace(data, name="a $strange_ <b>name</b>$", class_names=names)
    report, evaluation = measured(pretrained, data)
    html = write_report(tmp_path, report, evaluation, data).read_text("utf-8")
    page = Page(html)
    assert {"script", "b"}.isdisjoint(page.tags)
    assert names[0] in page.texts
    assert "a $strange_ <b>name</b>$" in " ".join(page.texts)


def test_few_images_and_unbounded_or_missing_radii_make_a_page(data, tmp_path):
    model = sll_zoo.create_model("sll_nano.digits")
    with torch.no_grad():
        model.head.weight[:] = model.head.weight[0]  # all logits differ by constants: nothing can overturn the largest
    for bias, mean in ((torch.arange(10.0), None), (torch.zeros(10), 0)):
        model.head.bias.data = bias
        few = data.limited(3)
        few = dataclasses.replace(few, samples=[(image, torch.tensor(int(bias.argmax()))) for image, _ in data.samples])
        report, evaluation = measured(model, few)
        write_report(tmp_path, report, evaluation, few)
        assert json.loads((tmp_path / "report.json").read_text("utf-8"))["mean_radius"] == mean


class Interrupted(Dataset):
    """Images of which one is an interruption."""

    def __getitem__(self, index):
        raise KeyboardInterrupt


def test_an_interruption_leaves_whole_files_and_nothing_else(pretrained, data, tmp_path):
    report, evaluation = measured(pretrained, data)
    (tmp_path / "report.html").write_text("of yesterday")
    with pytest.raises(KeyboardInterrupt):
        write_report(tmp_path, report, evaluation, dataclasses.replace(data, samples=Interrupted()))
    assert (tmp_path / "report.html").read_text() == "of yesterday"
    assert {path.name for path in tmp_path.iterdir()} == {"curve.png", "report.html"}
    write_report(tmp_path, report, evaluation, data)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_colour_images_are_shown_in_colour():
    image = torch.rand(3, 32, 32)
    data = HeldOut("noise", tuple("0123456789"), [(image, torch.tensor(0))], [0])
    model = sll_zoo.create_model("sll_nano", in_chans=3, img_size=32, conv_layers=1, dense_layers=1)
    page = Page(render_page(*measured(model, data), data, b""))
    tile = page.addresses[-1].partition("base64,")[2]
    with Image.open(io.BytesIO(base64.b64decode(tile))) as shown:
        assert np.array_equal(np.array(shown), (255 * image.permute(1, 2, 0)).round().byte().numpy())


def test_a_folder_that_cannot_hold_a_report_is_refused_before_any_work(tmp_path):
    check_folder(tmp_path)
    check_folder(tmp_path / "new" / "folder")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=f"^{folder} "):
            check_folder(folder)
    (tmp_path / "curve.png").mkdir()
    with pytest.raises(ConfigError, match=r"curve\.png "):
        check_folder(tmp_path)


def test_classes_and_confusions_are_those_of_the_images(data):
    label = torch.tensor([0, 0, 0, 2, 2, 5])
    prediction = torch.tensor([0, 3, 3, 2, 1, 5])
    proved = torch.tensor([0.5, 0.1, 0.2, 0.1, 0.3, 2.0], dtype=torch.float64)
    some = dataclasses.replace(data, indices=[10, 11, 12, 13, 14, 15])
    evaluation = Evaluation(label, prediction, label, proved, torch.zeros(6), {0.25: 2, 1.0: 1}, sound=False, seconds=1.0)
    assert [(row.name, row.n, row.correct, row.counts) for row in results_by_class(evaluation, data.class_names)] == [
        ("0", 3, 1, [1, 0]),
        ("2", 2, 1, [0, 0]),
        ("5", 1, 1, [1, 1]),
    ]
    assert [(found.label, found.prediction, found.n, found.index) for found in confusions(evaluation, some)] == [
        ("0", "3", 2, 12),
        ("2", "1", 1, 14),
    ]
