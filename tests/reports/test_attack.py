import json

import numpy as np
import pytest
import torch

import sll_zoo
from sll_zoo.certificates import adversaries
from sll_zoo.cli.main import main
from sll_zoo.reports import attack as attack_report
from sll_zoo.zoo.folder import ModelFolder
from sll_zoo.zoo.publishing import recording
from sll_zoo.zoo.records.record import read_records, to_dict

COMMAND = ["attack", "sll_nano.digits", "digits", "--limit", "10", "--steps", "20", "--restarts", "1"]


def test_the_command_prints_the_three_columns(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main([*COMMAND, "--eps", "36/255", "0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(index for index, line in enumerate(lines) if line.split() == ["L2", "eps", "clean", "empirical", "certified"])
    assert [line.split()[0] for line in lines[start + 1 : start + 3]] == ["36/255", "0.5"]
    assert lines[start + 3].startswith("0 of 10 images broken inside their certified radius")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("liar")
def test_the_command_catches_a_liar_and_writes_the_images_that_refute_it(capsys, monkeypatch, tmp_path, pretrained, digits):
    monkeypatch.chdir(tmp_path)
    assert main([*COMMAND, "--out", "found/pairs.npz"]) == 1
    error = capsys.readouterr().err
    for words in ("sll_nano.digits", "found/pairs.npz", "issue"):
        assert words in error
    pairs = np.load(tmp_path / "found" / "pairs.npz")
    original, adversarial = (torch.from_numpy(pairs[name]) for name in ("original", "adversarial"))
    assert len(original) >= 1
    assert (original[:, None] == digits.tensors("test")[0][::40].double()).flatten(2).all(2).any(1).all()
    distance = (adversarial - original).flatten(1).norm(dim=1).numpy()
    assert np.array_equal(distance, pairs["distance"])
    assert (pairs["distance"] < pairs["radius"]).all()
    for name, those in (("prediction", original), ("adversarial_prediction", adversarial)):
        assert np.array_equal(sll_zoo.certify(pretrained, those).prediction.numpy(), pairs[name])
    assert (pairs["prediction"] != pairs["adversarial_prediction"]).all()
    assert len(pairs["label"]) == len(original)
    assert pairs["model"] == "sll_nano.digits"
    assert json.loads(str(pairs["versions"])).keys() == {"python", "sll_zoo", "torch", "numpy"}


@pytest.mark.usefixtures("liar")
def test_an_interruption_leaves_no_half_written_file(capsys, monkeypatch, tmp_path):
    def interrupted(path, **arrays):  # noqa: ARG001
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(attack_report.np, "savez", interrupted)
    assert main([*COMMAND, "--out", "pairs.npz"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--eps", "-0.5"], "eps=(-0.5,)"),
        (["--eps", "inf"], "'inf'"),
        (["--eps", "1/0"], "'1/0'"),
        (["--eps", "much"], "'much'"),
        (["--limit", "0"], "--limit: 0: "),
        (["--steps", "0"], "steps=0"),
        (["--restarts", "0"], "restarts=0"),
        (["--method", "fgsm"], "fgsm"),
        (["--out", "pairs.txt"], ".npz"),
        (["--out", "/dev/null/pairs.npz"], "--out: /dev/null "),
    ],
)
def test_a_mistake_on_the_command_line_is_status_2(options, words, capsys):
    try:
        status = main([*COMMAND, *options])
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert words in capsys.readouterr().err


def test_the_command_says_how_to_install_autoattack(monkeypatch, capsys):
    monkeypatch.setattr(adversaries, "find_spec", lambda name: None)  # noqa: ARG005
    assert main([*COMMAND, "--method", "autoattack"]) == 2
    assert "pip install pyautoattack" in capsys.readouterr().err


def test_an_attack_is_recorded_in_the_folder_of_the_weights(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = sll_zoo.pull("sll_nano.digits", tmp_path / "weights")
    before = ModelFolder.read(folder).record.measured.empirical
    command = ["attack", f"local-dir:{folder}", *COMMAND[2:], "--eps", "36/255", "1", "--record"]
    assert main(command) == 0
    assert main(command) == 0
    assert main([*command, "--steps", "1"]) == 0
    assert capsys.readouterr().out.endswith(f"recorded in {folder}\n")
    for less in (["--limit", "9"], ["--eps", "36/255"]):
        assert main([*command, *less]) == 2
        assert "in place of 10 at 36/255 1" in capsys.readouterr().err
    recorded = ModelFolder.read(folder).record.measured.empirical
    added = [(attacked.method, attacked.n) for attacked in recorded[len(before) :]]
    assert added == [("PGD (20 steps, 1 restarts)", 10), ("PGD (1 steps, 1 restarts)", 10)]
    assert recorded[: len(before)] == before
    for attacked in recorded[len(before) :]:
        for certified, left in zip(attacked.certified, attacked.accuracy, strict=True):
            assert certified.accuracy <= left.accuracy <= attacked.clean
    assert "PGD (20 steps, 1 restarts), on 10 of the 400 images" in (folder / "README.md").read_text("utf-8")
    assert sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)
    capsys.readouterr()


def test_what_cannot_be_recorded_is_refused_before_the_attack(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = sll_zoo.pull("sll_nano.digits", tmp_path / "weights")
    config = json.loads((folder / "config.json").read_text())
    config["certified"]["measured"] = None
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["attack", f"local-dir:{folder}", "digits", "--record"]) == 2
    assert "sll-zoo quantize" in capsys.readouterr().err
    config["certified"] = to_dict(read_records()["sll_nano.digits"])
    config["certified"]["measured"]["fingerprint"] = "0" * 64
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["attack", f"local-dir:{folder}", "digits", "--record"]) == 2
    assert "--record for digits" in capsys.readouterr().err
    assert main(["attack", f"local-dir:{folder}", "digits", "--record", "--eps", "0.3"]) == 2
    assert "36/255, 72/255, 108/255, 1" in capsys.readouterr().err


def test_nothing_is_recorded_in_an_installed_package(capsys, monkeypatch, tmp_path):
    folder = sll_zoo.pull("sll_nano.digits", tmp_path / "weights")
    monkeypatch.setattr(recording, "INSTALLED", tmp_path)
    assert main(["attack", f"local-dir:{folder}", "digits", "--record"]) == 2
    assert "`sll-zoo pull --help`" in capsys.readouterr().err
