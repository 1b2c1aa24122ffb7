"""What is shipped is what its record says, and every table is made from the records."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest
import torch

import sll_zoo
from sll_zoo.errors import WeightsError
from sll_zoo.functional.certificate import radius_label
from sll_zoo.zoo.card import BEGIN, END, render_card, render_models
from sll_zoo.zoo.export import export_model
from sll_zoo.zoo.record import Record, read_records, write_record
from sll_zoo.zoo.weights import CHECKPOINTS, CONFIG_FILE, WEIGHTS_FILE

RECORDS = read_records()
ROOT = Path(__file__).parents[2]


def test_every_record_has_its_folder_and_every_folder_its_record():
    assert {path.name for path in CHECKPOINTS.iterdir() if path.is_dir()} == set(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_files_agree_with_the_record(name):
    folder, record = CHECKPOINTS / name, RECORDS[name]
    assert hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest() == record.sha256
    assert json.loads((folder / CONFIG_FILE).read_text())["certified"] == dataclasses.asdict(record)
    assert (folder / "README.md").read_text("utf-8") == render_card(name, record)


def test_the_shipped_digits_reach_what_their_record_says(pretrained, digits):
    record = RECORDS["sll_nano.digits"]
    evaluation = sll_zoo.evaluate(pretrained, digits.test_dataloader())
    assert evaluation.n == record.n == 400
    assert evaluation.clean == record.measured.clean
    assert {radius_label(eps): value for eps, value in evaluation.certified.items()} == record.measured.certified
    assert record.parameters == sum(parameter.numel() for parameter in pretrained.parameters())


def test_the_shipped_digits_earn_their_place():
    measured, baseline = RECORDS["sll_nano.digits"].measured, RECORDS["sll_nano.digits"].baseline
    assert measured.clean >= 0.96
    assert measured.certified["36/255"] >= 0.88
    assert all(measured.certified[label] > baseline.certified[label] for label in baseline.certified)


@pytest.mark.parametrize("path", ["README.md", "checkpoints/README.md"])
def test_tables_in_prose_are_made_from_the_records(path):
    text = (ROOT / path).read_text("utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == render_models(RECORDS)


def test_a_record_survives_its_file(tmp_path):
    path = tmp_path / "records.json"
    path.write_text("{}")
    record = RECORDS["sll_nano.digits"]
    write_record("b", dataclasses.replace(record, baseline=None), path)
    write_record("a", record, path)
    assert list(read_records(path)) == ["a", "b"]
    assert read_records(path)["a"] == record == Record.from_dict(dataclasses.asdict(record))


def test_a_network_with_nan_is_not_exported(pretrained, digits, tmp_path):
    pretrained.head.bias.data[0] = float("nan")
    evaluation = sll_zoo.evaluate(pretrained, digits.test_dataloader())
    described = {"dataset": "digits", "evaluation": evaluation, "baseline": None, "training": {}, "label_names": []}
    with pytest.raises(WeightsError, match="NaN or infinity"):
        export_model(pretrained, tmp_path / "out", **described)
    assert not (tmp_path / "out").exists()


def test_a_network_of_another_shape_than_its_tags_is_exported_and_loaded(digits, tmp_path):
    model = sll_zoo.create_model("sll_nano.digits", conv_layers=1, img_size=(8, 4), num_classes=3, mean=(0.25,))
    images, labels = (part[:20] for part in digits.tensors("test"))
    evaluation = sll_zoo.evaluate(model, [(images[..., :4], labels % 3)])
    training = {"config": "some.yaml", "seed": 0, "epochs": 0, "seconds": 0.0}
    described = {"dataset": "half digits", "evaluation": evaluation, "baseline": None, "training": training}
    export_model(model, tmp_path, label_names="abc", **described)
    loaded = sll_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert loaded.config == model.config
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
