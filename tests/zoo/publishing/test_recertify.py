"""What is published is measured again from the data that its record names, or the command says loudly that it was not."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

import sll_zoo
from sll_zoo.cli.main import main
from sll_zoo.data import ImageFolder, fingerprint
from sll_zoo.errors import PublishError
from sll_zoo.zoo.folder import ModelFolder
from sll_zoo.zoo.publishing.recertify import remeasure
from sll_zoo.zoo.publishing.recording import measurement
from sll_zoo.zoo.publishing.save import save_pretrained
from sll_zoo.zoo.records.data_source import source_of
from tests.data.published import write_image

ROOT = "data/photographs"
SHAPE = {"width": 16, "conv_layers": 1, "conv_inner": 2, "dense_layers": 1, "dense_inner": 8}


@pytest.fixture
def saved(monkeypatch, tmp_path):
    """The folder of a small network for images in a folder for each class, in a folder that has them."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for index in range(120):
        part = "train" if index < 60 else "test"
        write_image(Path(ROOT, part, f"class {index % 10}", f"{index}.jpg"), random, size=(32, 32))
    model, data = sll_zoo.create_model("sll_tiny.cifar10", **SHAPE).eval(), ImageFolder(ROOT, num_workers=0)
    data.setup("test")
    evaluation = sll_zoo.evaluate(model, data.test_dataloader())
    measured = measurement(evaluation, data.name, fingerprint(data.test_dataloader()), source=source_of(data))
    save_pretrained(model, Path("mine"), label_names=data.class_names, measured=measured)
    return Path("mine")


def publish(folder):
    return main(["publish", str(folder), "zoo/mine", "--dry-run"])


def test_it_is_measured_again_from_where_its_record_says(saved, capsys):
    assert publish(saved) == 0
    told = capsys.readouterr()
    assert "every check passed" in told.out
    assert "warning" not in told.err
    assert f"sll_zoo.data.ImageFolder(root='{ROOT}', channels=3)" in (saved / "README.md").read_text("utf-8")
    Image.new("RGB", (32, 32)).save(Path(ROOT, "test/class 3/63.jpg"))
    assert publish(saved) == 2
    assert "fingerprint" in capsys.readouterr().err


def test_what_cannot_be_measured_again_is_said_loudly(saved, capsys):
    shutil.rmtree(ROOT)
    found = sll_zoo.publish(str(saved), "zoo/mine", dry_run=True)
    assert "photographs" in found.warning
    assert f"{ROOT} " in found.warning
    assert publish(saved) == 0
    told = capsys.readouterr()
    assert f"sll-zoo: warning: {found.warning}\n" in told.err
    assert "every other check passed" in told.out


def test_a_record_of_the_time_before_is_measured_on_a_named_data_set_or_not_at_all(pretrained, digits, saved):
    evaluation = sll_zoo.evaluate(pretrained, digits.test_dataloader())
    measured = measurement(evaluation, "digits", fingerprint(digits.test_dataloader()))
    assert measured.source is None
    assert remeasure(pretrained, measured) == ""
    with pytest.raises(PublishError, match=r"0{12}"):
        remeasure(pretrained, msgspec.structs.replace(measured, fingerprint="0" * 64))
    model, before = (
        sll_zoo.create_model(f"local-dir:{saved}", pretrained=True).eval(),
        ModelFolder.read(saved).record,
    )
    for dataset in ("photographs", ROOT, str(Path(ROOT).resolve())):
        old = msgspec.structs.replace(before.measured, source=None, dataset=dataset)
        assert "the record does not say how its images are opened" in remeasure(model, old)


def test_a_network_that_was_measured_by_the_command_line_is_measured_again(saved):
    assert main(["quantize", f"local-dir:{saved}", "--data", f"{ROOT}/test", "--out", "packed"]) == 0
    assert ModelFolder.read(Path("packed")).record.measured.source.init_args == {"source": f"{ROOT}/test"}
    assert not sll_zoo.publish("packed", "zoo/mine", dry_run=True).warning
    Path(ROOT).rename("data/elsewhere")
    assert f"'{ROOT}/test'" in sll_zoo.publish("packed", "zoo/mine", dry_run=True).warning
