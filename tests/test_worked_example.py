"""Shipped weights, fine-tuned by the command line to a folder of images with other classes and another size.

The small digits take the place of the configuration's network here, which tests/test_configs.py trains for two steps.
"""

import json
from pathlib import Path

import pytest
import torch

import sll_zoo
from sll_zoo.cli.main import main
from tests.folders import write_images
from tests.marks import slow_but

DIGITS = ["--model.name", "sll_nano.digits", "--data.image_size", "8", "--data.channels", "1"]
CONFIG = Path(__file__).parents[1] / "configs/imagefolder/fine_tune.yaml"


@pytest.mark.parametrize("freeze", slow_but(["true"], ["false", "true"]))
def test_a_folder_with_other_classes_and_size_gives_a_certified_model(freeze, monkeypatch, tmp_path, digits, capsys):
    monkeypatch.chdir(tmp_path)
    images, labels = digits.tensors("test")
    chosen = torch.isin(labels, torch.tensor([3, 5, 8]))
    larger = torch.nn.functional.interpolate(images[chosen], scale_factor=3, mode="bicubic").clamp(0, 1)
    write_images(tmp_path / "data/images", larger, labels[chosen])
    arguments = ["fit", "--config", str(CONFIG), *DIGITS, "--model.model_args.num_classes", "3", "--data.batch_size", "16"]
    arguments += ["--model.head_only", freeze, "--trainer.max_epochs", "8", "--data.num_workers", "0"]
    assert main(arguments) == 0
    assert "wrote outputs/sll_tiny.imagefolder" in capsys.readouterr().out
    (report,) = Path("outputs").glob("**/metrics.json")
    assert json.loads(report.read_text("utf-8"))["final"]["val/acc"] > 0.8

    assert not sll_zoo.publish("outputs/sll_tiny.imagefolder", "zoo/mine", dry_run=True).warning
    # Without data, the held-out images of the record are measured: prepared as for the training, and not those trained on.
    assert main(["certify", "local-dir:outputs/sll_tiny.imagefolder", "--out", "report"]) == 0
    stated = json.loads(Path("report/report.json").read_text("utf-8"))
    recorded = json.loads(Path("outputs/sll_tiny.imagefolder/config.json").read_text("utf-8"))["certified"]["measured"]
    assert (stated["data"], stated["n"], stated["data_sha256"]) == ("images", recorded["n"], recorded["fingerprint"])
    assert sum(row["n"] for row in stated["classes"]) == recorded["n"] < chosen.sum() / 5
    left_out = next(Path("data/images/3").iterdir())
    left_out.rename(tmp_path / "elsewhere.png")
    assert main(["certify", "local-dir:outputs/sll_tiny.imagefolder"]) == 2  # other images are held out now
    assert recorded["fingerprint"][:12] in capsys.readouterr().err
    (tmp_path / "elsewhere.png").rename(left_out)
    model = sll_zoo.create_model("local-dir:outputs/sll_tiny.imagefolder", pretrained=True).eval()
    assert model.num_classes == 3
    body = sll_zoo.create_model("sll_nano.digits", pretrained=True).denses
    same = all(torch.equal(mine, theirs) for mine, theirs in zip(model.denses.parameters(), body.parameters(), strict=True))
    assert same == (freeze == "true")
    small, classes = images[chosen][:10], torch.searchsorted(torch.tensor([3, 5, 8]), labels[chosen][:10])
    assert not sll_zoo.attack(model, small, classes, steps=10, restarts=1).violations.any()
