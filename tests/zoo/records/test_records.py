"""What is shipped is what its record says, and every page and table is made from the records."""

import hashlib
import json
import re

import msgspec
import PIL
import pytest
import torch
import yaml

import sll_zoo
from sll_zoo.data import fingerprint
from sll_zoo.errors import InputError, PublishError, WeightsError
from sll_zoo.reports.words import percent
from sll_zoo.zoo.entries import default_cfgs
from sll_zoo.zoo.folder import CHECKPOINTS
from sll_zoo.zoo.publishing.recertify import recertify, remeasure
from sll_zoo.zoo.publishing.recording import measurement
from sll_zoo.zoo.publishing.save import save_pretrained
from sll_zoo.zoo.records.card import BEGIN, END, render_card, render_models
from sll_zoo.zoo.records.citations import citations
from sll_zoo.zoo.records.data_source import open_recorded
from sll_zoo.zoo.records.record import RECORDS as FOLDER
from sll_zoo.zoo.records.record import from_dict, read_records, to_dict, write_record
from sll_zoo.zoo.weights.reading import CONFIG_FILE
from sll_zoo.zoo.weights.shards import WEIGHTS_FILE
from tests.checkouts import ROOT

RECORDS = read_records()
DIGITS = RECORDS["sll_nano.digits"]
# An attack on all images as older records have it, without the certified accuracy of the attacked images.
WEAKER = {"method": "PGD", "n": 400, "accuracy": [{"eps": 36 / 255, "label": "36/255", "accuracy": 0.5}]}


def test_every_record_has_its_folder_and_every_folder_its_record():
    assert {path.name for path in CHECKPOINTS.iterdir() if path.is_dir()} == set(RECORDS)
    assert {path.stem for path in FOLDER.glob("*.json")} == set(RECORDS)


@pytest.mark.parametrize("name", RECORDS)
def test_files_agree_with_the_record(name):
    folder, record = CHECKPOINTS / name, RECORDS[name]
    parts = sorted(folder.glob("*.safetensors"))
    assert len(parts) == record.files
    assert parts == [folder / WEIGHTS_FILE] or len(parts) > 1
    content, config = b"".join(part.read_bytes() for part in parts), json.loads((folder / CONFIG_FILE).read_text())
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (record.sha256, record.size)
    assert from_dict(config["certified"]) == record
    assert {"inf": "Linf", "2": "L2"}[config.get("norm", "2")] == record.measured.norm
    files = [path.name for path in folder.iterdir()]
    assert (folder / "README.md").read_text("utf-8") == render_card(record, config, name, files)


def test_the_time_of_a_network_that_grew_is_that_of_all_stages():
    training = RECORDS["sll_large.cifar10"].training
    assert training.seconds_of_all_stages == RECORDS["sll_small.cifar10"].training.seconds + training.seconds
    assert DIGITS.training.seconds_of_all_stages == DIGITS.training.seconds


def test_a_card_cites_the_papers_that_its_configuration_names():
    for config in default_cfgs.values():
        papers = re.findall(r"\d{4}\.\d{5}", config.default.paper_ids)
        assert papers
        assert citations(config.default.paper_ids).count("@inproceedings") == len(papers)
    for name, papers in {
        "sll_nano.digits": ["2303.03169"],
        "sortnet_nano.digits": ["2210.01787"],
        "sll_rnn_nano.digits": ["2303.03169", "2006.12070"],
        "bro_isometric.cifar10": ["2303.03169", "2206.06854"],
    }.items():
        card = (CHECKPOINTS / name / "README.md").read_text("utf-8")
        assert re.findall(r"url += {https://arxiv.org/abs/(.*)}", card) == papers
        config = json.loads((CHECKPOINTS / name / CONFIG_FILE).read_text())
        architecture, _, tag = name.partition(".")
        assert config["pretrained_cfg"]["paper_ids"] == default_cfgs[architecture].cfgs[tag].paper_ids


def test_the_card_of_weights_that_nothing_was_measured_of_says_their_norm(tmp_path):
    for name, norm in {"linfdist_nano.digits": "Linf", "sll_nano.digits": "L2"}.items():
        save_pretrained(sll_zoo.create_model(name), tmp_path, label_names=list("0123456789"))
        card = (tmp_path / "README.md").read_text("utf-8")
        assert f"a class and an {norm} radius" in card


@pytest.mark.parametrize("name", RECORDS)
def test_the_recorded_sample_is_certified_again(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    model = sll_zoo.create_model(name, pretrained=True).eval()
    measured = RECORDS[name].measured
    root = measured.source.init_args.get("root")
    try:
        held_out = open_recorded(measured.source, model.config.input_shape, model.num_classes)
    except InputError as error:
        if "download=True" not in str(error):  # the remedy where there are none; damaged ones are an error
            raise
        pytest.skip(f"the images are not in {root}: {error}")
    if measured.preparation and int(PIL.__version__.partition(".")[0]) < 13:
        pytest.skip("this Pillow resizes images to other pixels than those that were measured")
    assert remeasure(model, measured) == ""
    [*model.head.parameters()][-1].data[::2] += 1e-3
    with pytest.raises(PublishError, match=rf"image \d+ .*{measured.dataset} .*radius"):
        recertify(model, measured, held_out)
    with pytest.raises(PublishError, match=measured.fingerprint[:12]):
        recertify(model, measured, held_out.limited(40))
    other = "L2" if measured.norm == "Linf" else "Linf"
    with pytest.raises(PublishError, match=f"in {measured.norm} with a record in {other}"):
        recertify(model, msgspec.structs.replace(measured, norm=other), held_out)


def test_the_shipped_digits_reach_what_their_record_says(pretrained, digits):
    measured = DIGITS.measured
    evaluation = sll_zoo.evaluate(pretrained, digits.test_dataloader())
    found = measurement(evaluation, "digits", fingerprint(digits.test_dataloader()))
    assert found.n == 400
    assert (found.accuracy.clean, found.accuracy.certified) == (measured.accuracy.clean, measured.accuracy.certified)
    assert (found.fingerprint, found.sample.index) == (measured.fingerprint, measured.sample.index)
    assert DIGITS.parameters == sum(parameter.numel() for parameter in pretrained.parameters())


def test_the_shipped_digits_earn_their_place():
    measured, baseline = DIGITS.measured.accuracy, DIGITS.measured.baseline
    assert measured.clean >= 0.96
    assert measured.certified[0].accuracy >= 0.88
    assert all(ours.accuracy > theirs.accuracy for ours, theirs in zip(measured.certified, baseline.certified, strict=True))


@pytest.mark.parametrize("path", ["README.md", "checkpoints/README.md"])
def test_tables_in_prose_are_made_from_the_records(path):
    text = (ROOT / path).read_text("utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == render_models(RECORDS)


def test_a_record_survives_its_file(tmp_path):
    for record in (DIGITS, msgspec.structs.replace(DIGITS, name="sll_nano.b", measured=None, training=None)):
        write_record(record, tmp_path)
    other = from_dict(json.loads((tmp_path / "sll_nano.b.json").read_text()))
    assert read_records(tmp_path) == {"sll_nano.b": other, DIGITS.name: DIGITS}


def test_a_record_of_the_form_before_is_read_and_told_apart():
    content = to_dict(DIGITS)
    attacked = content["measured"]["empirical"][1]  # older records have one attack at most
    del content["files"], content["measured"]["source"], attacked["clean"], attacked["certified"]
    first = msgspec.structs.replace(DIGITS.measured.empirical[1], clean=None, certified=None)
    for before, now in ((attacked, (first,)), (None, ())):
        content["measured"]["empirical"] = before
        record = from_dict(content)
        assert (record.measured.empirical, record.measured.source) == (now, None)
        card = render_card(record, json.loads((CHECKPOINTS / record.name / CONFIG_FILE).read_text()), "local-dir:.", [])
        assert ("on 100 of the 400 images, evenly spaced" in card) == bool(now)
        assert ("How many of these 100 images are certified was not recorded: the table above is of all 400." in card) == bool(
            now
        )


def test_a_subset_of_any_number_of_images_is_told_apart_from_the_data_set():
    config = json.loads((CHECKPOINTS / DIGITS.name / CONFIG_FILE).read_text())
    for name, told in (("gtsrb-subset-26638", True), ("gtsrb", False)):
        measured = msgspec.structs.replace(DIGITS.measured, dataset=name)
        card = render_card(msgspec.structs.replace(DIGITS, measured=measured), config, "local-dir:.", [])
        assert bool(re.search(rf"held-out images of {name}, certified in float64, on [0-9-]+\. They ", card)) == told


def test_the_columns_of_an_attack_are_of_the_same_images(pretrained):
    held_out = open_recorded(DIGITS.measured.source, (1, 8, 8), 10)
    card = (CHECKPOINTS / DIGITS.name / "README.md").read_text("utf-8").split("### Under attack")[1]
    for attacked, images in zip(DIGITS.measured.empirical, ("all 400 images", "100 of the 400 images"), strict=True):
        evaluation = sll_zoo.evaluate(pretrained, held_out.limited(attacked.n).batches())
        assert (evaluation.clean, list(evaluation.certified.values())) == (
            attacked.clean,
            [row.accuracy for row in attacked.certified],
        )
        assert f"{attacked.method}, on {images}" in card
        for row, left in zip(attacked.certified, attacked.accuracy, strict=True):
            assert f"| {row.label} | {percent(row.accuracy)} | {percent(left.accuracy)} |" in card


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("sha256",), "0" * 63, "sha256"),
        (("size",), 0, "size"),
        (("measured", "n"), "400", "measured.n`"),
        (("measured", "accuracy", "clean"), 99.25, "accuracy.clean"),
        (("measured", "accuracy", "clean"), 0.5, "more .*certified"),
        (("measured", "accuracy", "certified", 0, "label"), "0.14", "36/255"),
        (("measured", "accuracy", "certified", 3, "accuracy"), 0.9, "must fall"),
        (("measured", "empirical", 1, "accuracy", 0, "accuracy"), 0.1, "between"),
        (("measured", "empirical", 1, "accuracy", 0, "accuracy"), 1.0, "between"),
        (("measured", "empirical", 1, "clean"), None, "go together"),
        (("measured", "empirical", 1, "certified"), [], "attacked .*other radii"),
        (("measured", "empirical"), [WEAKER], "fewer"),
        (("measured", "source", "class_path"), "os.system", "class_path"),
        (("measured", "norm"), "L1", "norm"),
        (("measured", "sample", "radius"), [], "differ in length"),
    ],
)
def test_a_record_that_cannot_be_true_is_refused(path, value, words):
    content = to_dict(DIGITS)
    at = content
    for key in path[:-1]:
        at = at[key] if isinstance(at, dict) else list(at)[key]
    at[path[-1]] = value
    with pytest.raises(msgspec.ValidationError, match=words):
        from_dict(content)


def test_the_card_tells_machines_what_it_tells_people():
    card = (CHECKPOINTS / DIGITS.name / "README.md").read_text("utf-8")
    metadata = yaml.safe_load(card.split("---\n")[1])
    (model,) = metadata["model-index"]
    metrics = [metric for result in model["results"] for metric in result["metrics"]]
    certified = [metric for metric in metrics if metric["type"] == "certified_accuracy" and metric["args"]["n"] == 400]
    assert [(m["value"], m["args"]["eps"], m["args"]["norm"], m["args"]["n"]) for m in certified] == [
        (row.accuracy, row.eps, "L2", 400) for row in DIGITS.measured.accuracy.certified
    ]
    assert (metadata["library_name"], metadata["license"]) == ("timm", "apache-2.0")
    for said in (
        DIGITS.sha256,
        DIGITS.measured.fingerprint,
        percent(DIGITS.measured.accuracy.certified[0].accuracy),
        "float64",
        DIGITS.training.device,
        "seed 0",
    ):
        assert said in card


def test_a_network_with_nan_is_not_saved(pretrained, tmp_path):
    pretrained.head.bias.data[0] = float("nan")
    with pytest.raises(WeightsError, match=r"NaN.*head\.bias"):
        save_pretrained(pretrained, tmp_path / "out", label_names=[])
    assert not (tmp_path / "out").exists()


def test_a_network_of_another_shape_than_its_tags_is_saved_and_loaded(digits, tmp_path):
    model = sll_zoo.create_model("sll_nano.digits", conv_layers=1, img_size=(8, 4), num_classes=3, mean=(0.25,))
    images, labels = (part[:20] for part in digits.tensors("test"))
    evaluation = sll_zoo.evaluate(model, [(images[..., :4], labels % 3)])
    record = save_pretrained(model, tmp_path, label_names="abc", measured=measurement(evaluation, "half digits", "0" * 64))
    assert record.name == "sll_nano.half_digits"
    loaded = sll_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True)
    assert loaded.config == model.config
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())
