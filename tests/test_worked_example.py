"""The shipped digits, fine-tuned by the command line to another folder of images, with other classes and another size."""

import json
from pathlib import Path

import pytest
import torch

import sll_zoo
from sll_zoo.cli.main import main
from tests.folders import write_images
from tests.marks import slow_but

CONFIG = Path(__file__).parents[1] / "configs/imagefolder/fine_tune.yaml"


@pytest.mark.parametrize("freeze", slow_but(["true"], ["false", "true"]))
def test_a_folder_with_other_classes_and_size_gives_a_certified_model(freeze, monkeypatch, tmp_path, digits, capsys):
    monkeypatch.chdir(tmp_path)
    images, labels = digits.tensors("test")
    chosen = torch.isin(labels, torch.tensor([3, 5, 8]))
    larger = torch.nn.functional.interpolate(images[chosen], scale_factor=3, mode="bicubic").clamp(0, 1)
    write_images(tmp_path / "data/images", larger, labels[chosen])
    arguments = ["fit", "--config", str(CONFIG), "--model.model_args.num_classes", "3", "--data.batch_size", "16"]
    arguments += ["--model.head_only", freeze, "--trainer.max_epochs", "8", "--data.num_workers", "0"]
    assert main(arguments) == 0
    assert "wrote outputs/sll_nano.imagefolder" in capsys.readouterr().out
    (report,) = Path("outputs").glob("**/metrics.json")
    assert json.loads(report.read_text("utf-8"))["final"]["val/acc"] > 0.8

    assert not sll_zoo.publish("outputs/sll_nano.imagefolder", "zoo/mine", dry_run=True).warning
    model = sll_zoo.create_model("local-dir:outputs/sll_nano.imagefolder", pretrained=True).eval()
    assert model.num_classes == 3
    body = sll_zoo.create_model("sll_nano.digits", pretrained=True).denses
    same = all(torch.equal(mine, theirs) for mine, theirs in zip(model.denses.parameters(), body.parameters(), strict=True))
    assert same == (freeze == "true")
    small, classes = images[chosen][:10], torch.searchsorted(torch.tensor([3, 5, 8]), labels[chosen][:10])
    assert not sll_zoo.attack(model, small, classes, steps=10, restarts=1).violations.any()
