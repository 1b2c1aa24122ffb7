import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

from sll_zoo.cli import measure
from sll_zoo.cli.main import main
from sll_zoo.zoo.entries import ARCHITECTURES, TAGS
from tests.checkouts import ROOT
from tests.folders import write_images


@pytest.fixture(autouse=True)
def _run_in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=[True, False], ids=["kept", "read again"])
def _images_kept_or_read_again(request, monkeypatch):
    monkeypatch.setattr(measure, "KEPT", measure.KEPT * request.param)


def test_help_lists_each_command_with_a_line(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for command in ("demo", "list", "certify", "attack", "fit", "validate", "test", "predict"):
        assert f"    {command} " in text


def test_the_module_runs_as_the_command():
    run = subprocess.run([sys.executable, "-m", "sll_zoo", "list", "--pretrained"], capture_output=True, text=True, check=True)
    assert "\nsll_nano.digits: 207,242 parameters; 400 images of digits" in run.stdout
    assert run.stderr == ""


def test_list_names_every_architecture_and_its_tags(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(ARCHITECTURES)
    assert f"sll_small              {', '.join(TAGS['sll_small'])}" in lines


def test_certify_prints_a_table_and_writes_nothing_unasked(capsys, tmp_path):
    assert main(["certify", "sll_nano.digits", "digits"]) == 0
    text = capsys.readouterr().out
    for words in (
        "images/s",
        "clean accuracy",
        "certified at 36/255",
        "certified at 1 ",
        "mean certified radius",
        "400 images in",
    ):
        assert words in text
    assert list(tmp_path.iterdir()) == []


def test_certify_writes_a_report_that_repeats_itself(capsys):
    assert main(["certify", "sll_nano.digits", "digits", "--limit", "50", "--out", "a b/c"]) == 0
    assert "report: a b/c/report.html" in capsys.readouterr().out
    assert {path.name for path in Path("a b/c").iterdir()} == {"report.html", "report.json", "samples.csv", "curve.png"}
    report = json.loads(Path("a b/c/report.json").read_text("utf-8"))
    assert report["command"] == "sll-zoo certify sll_nano.digits digits --limit 50 --out 'a b/c'"
    samples = Path("a b/c/samples.csv").read_text()
    assert main(shlex.split(report["command"])[1:]) == 0
    assert Path("a b/c/samples.csv").read_text() == samples
    again = json.loads(Path("a b/c/report.json").read_text("utf-8"))
    assert again | {"seconds": 0} == report | {"seconds": 0}


@pytest.mark.usefixtures("_images_kept_or_read_again")
def test_certify_takes_a_folder_of_class_folders(capsys, digits, tmp_path):
    images, labels = digits.tensors("test")
    write_images(tmp_path / "mine", images[:60], labels[:60])
    assert main(["certify", "sll_nano.digits", "mine", "--out", "out"]) == 0
    report = json.loads(Path("out/report.json").read_text("utf-8"))
    assert (report["n"], report["data"]) == (60, "mine")
    assert "60 images in" in capsys.readouterr().out


def test_certify_finds_some_of_the_models_classes_by_name_and_refuses_others(capsys, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), "tan").save(tmp_path / "mine" / name / "1.png")
    assert main(["certify", "sll_tiny.cifar10", "mine", "--out", "out"]) == 0
    assert [row.split(",")[1] for row in Path("out/samples.csv").read_text().splitlines()] == ["label", "3", "5"]
    (tmp_path / "mine" / "dog").rename(tmp_path / "mine" / "dogs")
    capsys.readouterr()
    assert main(["certify", "sll_tiny.cifar10", "mine"]) == 2
    assert re.search("mine .*1 of 2 .*: dogs: ", capsys.readouterr().err)


@pytest.mark.usefixtures("_images_kept_or_read_again")
def test_a_damaged_image_is_named_before_any_is_certified(capsys, digits, tmp_path):
    images, labels = digits.tensors("test")
    *_, last = sorted(write_images(tmp_path / "mine", images[:60], labels[:60]))
    last.write_bytes(last.read_bytes()[:-20])
    assert main(["certify", "sll_nano.digits", "mine", "--out", "out"]) == 2
    captured = capsys.readouterr()
    assert f"sll-zoo: {last.relative_to(tmp_path)} " in captured.err
    assert "certifying" not in captured.out
    assert not Path("out").exists()


def test_demo_certifies_draws_fine_tunes_and_says_what_is_next(capsys, tmp_path):
    assert main(["demo", "--picture", "pictures/curve.png"]) == 0
    text = capsys.readouterr().out
    for words in (
        "clean accuracy",
        "certified at 108/255",
        "400 images in",
        "fine-tuned with a Lightning Trainer",
        "On record:",
        "Next:",
    ):
        assert words in text
    assert (tmp_path / "pictures" / "curve.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "COMMAND"),
        (["dmeo"], "dmeo"),
        (["certify"], "MODEL"),
        (["certify", "sll_nanno", "digits"], "sll_nano"),
        (["certify", "sll_medium", "digits"], "no published weights"),
        (["certify", "local-dir:/nowhere", "digits"], "/nowhere/config.json "),
        (["certify", "hf-hub:org/name", "digits"], "org/name "),
        (["certify", "sll_nano.digits", "digit"], "'digit'"),
        (["certify", "nothing", "mnist"], "'mnist'"),
        (["certify", "nothing", "/dev/null"], "'/dev/null'"),
        (["certify", "nothing", "."], "cat/1.png"),
        (["certify", "nothing", str(ROOT / "configs")], "holds folders"),
        (["certify", "nothing", "digits", "--limit", "0"], "--limit: 0: "),
        (["certify", "nothing", "digits", "--limit", "-3"], "--limit: -3: "),
        (["certify", "nothing", "digits", "--limit", "few"], "--limit: few: "),
        (["certify", "nothing", "digits", "--out", "/dev/null"], "/dev/null "),
        (["certify", "nothing", "digits", "--out", "/dev/null/x"], "/dev/null "),
        (["demo", "--picture", "/dev/null/x.png"], "/dev/null "),
        (["list", "--all"], "--all"),
        (["fit", "--config", "nowhere.yaml"], "nowhere.yaml"),
        (["fit", "--model.name", "sll_nanno", "--data", "Digits"], "sll_nano"),
        (["fit", "--model.name", "sll_nano.digits", "--data", "Nothing"], "Nothing"),
        (["fit", "--model.nmae", "x"], "nmae"),
        (["fit", "--model.name", "sll_nano.digits", "--data", "Digits", "--data.batch_size", "0"], "batch_size=0"),
        (["test", "--model.name", "sll_nano.digits", "--data", "Digits", "--ckpt_path", "nowhere.ckpt"], "nowhere.ckpt"),
    ],
)
def test_a_mistake_is_one_or_two_lines_and_status_2(arguments, words, capsys):
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    captured = capsys.readouterr()
    assert status == 2
    assert words in captured.err
    assert 1 <= len(captured.err.strip().splitlines()) <= 2
    assert "Traceback" not in captured.err


def test_a_checkpoint_that_is_none_is_a_mistake_of_one_line(tmp_path, capsys):
    (tmp_path / "x.ckpt").write_text("hello")
    for option in (["--ckpt_path", "x.ckpt"], ["--ckpt_path=x.ckpt"]):
        assert main(["test", "--model.name", "sll_nano.digits", "--data", "Digits", *option]) == 2
        assert capsys.readouterr().err.splitlines()[-1].startswith("sll-zoo: x.ckpt ")


def test_an_untrained_network_is_not_measured(capsys):
    assert main(["test", "--model.name", "sll_nano.digits", "--data", "Digits"]) == 2
    assert "--model.pretrained true" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "norm"), [("sll_nano.digits", "L2"), ("sortnet_nano.digits", "Linf")])
def test_the_table_of_a_test_says_the_norm_of_its_radii(name, norm, capsys):
    assert main(["test", "--model.name", name, "--model.pretrained", "true", "--data", "Digits"]) == 0
    assert f"Radii are in {norm}" in capsys.readouterr().out


@pytest.mark.processes
def test_an_interrupted_training_says_so_and_saves_nothing(tmp_path):
    command = [sys.executable, "-m", "sll_zoo", "fit", "--config", str(ROOT / "configs/digits/sll_nano.yaml")]
    command += ["--trainer.max_epochs", "100000"]  # it does not end before the signal comes
    errors = tmp_path / "errors"
    # A shell starts what runs in its background deaf to SIGINT, and children inherit that.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    with errors.open("w") as stderr, subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, **heard) as run:
        while run.poll() is None and not list(tmp_path.glob("outputs/**/*.ckpt")):
            time.sleep(0.1)
        run.send_signal(signal.SIGINT)
        try:
            run.wait(60)
        finally:
            run.kill()
    (checkpoint,) = tmp_path.glob("outputs/**/last.ckpt")
    told = errors.read_text().splitlines()[-1]
    assert run.returncode == 130
    assert told.startswith("sll-zoo: ")
    assert "SIGINT" in told
    assert f"{checkpoint} with --ckpt_path last" in told
    assert not (tmp_path / "checkpoints").exists()


def test_without_data_the_images_of_the_record_are_measured_and_without_a_record_it_is_said(tmp_path, capsys):
    assert main(["certify", "sll_nano.digits", "--limit", "20"]) == 0
    measured = capsys.readouterr().out
    assert main(["certify", "sll_nano.digits", "digits", "--limit", "20"]) == 0
    table = measured.partition("mean")[0]
    assert "clean" in table
    assert table in capsys.readouterr().out
    shutil.copytree(ROOT / "checkpoints/sll_nano.digits", tmp_path / "bare")
    config = json.loads((tmp_path / "bare/config.json").read_text("utf-8"))
    (tmp_path / "bare/config.json").write_text(json.dumps(config | {"certified": config.pop("certified") | {"measured": None}}))
    for command in ("certify", "attack"):
        assert main([command, "local-dir:bare"]) == 2
        assert "local-dir:bare has no record of what it was measured on" in capsys.readouterr().err


@pytest.mark.slow
def test_output_may_be_cut_off():
    run = subprocess.run(f"{sys.executable} -m sll_zoo list | true", shell=True, capture_output=True, text=True, check=False)
    assert run.stderr == ""


def test_fit_saves_where_it_is_told_and_the_checkpoint_serves_the_other_commands(tmp_path, capsys):
    config = yaml.safe_load((ROOT / "configs/digits/sll_nano.yaml").read_text())
    config["trainer"]["callbacks"][0]["init_args"] |= {"folder": "mine", "attacked": 0}
    config["trainer"] |= {"max_epochs": 1, "enable_progress_bar": False, "enable_model_summary": False}
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    assert main(["fit", "--config", "mine.yaml"]) == 0
    assert "wrote mine: 207,242 parameters; 400 images of digits" in capsys.readouterr().out
    assert main(["certify", "local-dir:mine", "digits"]) == 0
    (checkpoint,) = tmp_path.glob("outputs/**/*.ckpt")
    assert main(["certify", f"ckpt:{checkpoint}"]) == 2
    assert "give DATA" in capsys.readouterr().err
    for command in ("validate", "test", "predict"):
        assert main([command, "--config", "mine.yaml", "--ckpt_path", str(checkpoint)]) == 0
    assert "wrote outputs/certificates.csv" in capsys.readouterr().out
    rows = (tmp_path / "outputs" / "certificates.csv").read_text().splitlines()
    assert rows[0] == "index,prediction,radius,norm"
    assert [row.split(",")[0] for row in rows[1:]] == [str(index) for index in range(400)]
