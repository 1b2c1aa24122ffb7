"""``sll-zoo quantize``: what fewer bits cost, measured, and a folder whose record says what it holds."""

import json
from pathlib import Path

import pytest
import yaml

import sll_zoo
from sll_zoo.cli.main import main
from sll_zoo.data import open_data
from sll_zoo.reports.words import percent
from sll_zoo.zoo.folder import ModelFolder
from sll_zoo.zoo.publishing.recertify import recertify
from sll_zoo.zoo.records.record import read_records
from sll_zoo.zoo.weights.shards import WEIGHTS_FILE
from tests.checkouts import ROOT

NAME = "sll_nano.digits"


@pytest.fixture(autouse=True)
def _run_in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def record_of(folder):
    return ModelFolder.read(Path(folder)).record


def test_the_command_measures_both_and_writes_a_folder_that_is_certified_again(capsys, digits):
    assert main(["quantize", NAME, "--bits", "4", "--data", "digits", "--out", "packed"]) == 0
    text = capsys.readouterr().out
    shipped, record = read_records()[NAME], record_of("packed")
    model = sll_zoo.create_model("local-dir:packed", pretrained=True).eval()
    after = sll_zoo.evaluate(model, digits.test_dataloader())
    for row in shipped.measured.accuracy.certified:
        assert f"{percent(row.accuracy):>9} {percent(after.certified[row.eps]):>9}" in text
    assert (record.name, record.bits, record.size) == (NAME, 4, Path("packed", WEIGHTS_FILE).stat().st_size)
    assert (record.parameters, record.training) == (shipped.parameters, shipped.training)
    assert record.measured.baseline == shipped.measured.baseline
    assert record.measured.empirical == ()
    recertify(model, record.measured, open_data("digits", (1, 8, 8), 10))
    assert "4 bits a weight" in Path("packed/README.md").read_text("utf-8")
    assert sll_zoo.publish("packed", "zoo/packed", dry_run=True).files[WEIGHTS_FILE] == record.size


def test_a_folder_is_quantised_in_its_place_and_a_second_time_changes_no_weight(tmp_path):
    sll_zoo.pull(NAME, tmp_path / "mine")
    records = []
    for _ in range(2):
        assert main(["quantize", "local-dir:mine", "--data", "digits", "--out", "mine"]) == 0
        records.append(record_of("mine"))
    assert (records[0].bits, records[0].sha256) == (8, records[1].sha256)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nothing", "--data", "mnist", "--out", "x"], "'mnist'"),
        ([NAME, "--data", "digits", "--out", "/dev/null"], "/dev/null "),
        ([NAME, "--data", "digits", "--out", "x", "--bits", "5"], "5"),
        ([NAME, "--out", "x"], "--data"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(options, words, capsys, tmp_path):
    try:
        status = main(["quantize", *options])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_training_saves_and_measures_what_it_packs(digits):
    config = yaml.safe_load((ROOT / "configs/digits/sll_nano.yaml").read_text())
    config["trainer"]["callbacks"][0]["init_args"] |= {"folder": "mine", "attacked": 0, "baseline": False, "bits": 4}
    config["trainer"] |= {"max_epochs": 1, "enable_progress_bar": False, "enable_model_summary": False}
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", "mine.yaml"]) == 0
    model = sll_zoo.create_model("local-dir:mine", pretrained=True).eval()
    measured = record_of("mine").measured.accuracy
    found = sll_zoo.evaluate(model, digits.test_dataloader())
    assert json.loads(Path("mine/config.json").read_text())["certified"]["bits"] == 4
    assert [row.accuracy for row in measured.certified] == list(found.certified.values())
