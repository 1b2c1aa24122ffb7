"""A training writes to ``outputs/`` alone; ``sll-zoo ship`` puts what it saved into the checkout, once it is checked."""

import json
import shutil
import subprocess
import sys

import pytest

from sll_zoo.cli.main import main
from sll_zoo.errors import PublishError, UnknownNameError, WeightsError
from sll_zoo.zoo.folder import CHECKPOINTS
from sll_zoo.zoo.publishing.results import RESULTS
from sll_zoo.zoo.publishing.ship import ship
from sll_zoo.zoo.records.card import BEGIN, END, render_models
from sll_zoo.zoo.records.record import from_dict, read_records, to_dict
from sll_zoo.zoo.weights.reading import CONFIG_FILE
from tests.checkouts import checkout, environment

NAME = "sll_nano.digits"
FIT = ["fit", "--config", "configs/digits/sll_nano.yaml", "--trainer.max_epochs", "2", "--trainer.callbacks.attacked", "2"]
# Code that ships twice: a saved folder, and then the folder that is shipped already.
DIVIDED = f"""
from pathlib import Path
import sll_zoo
from sll_zoo.zoo.publishing import ship as shipping
shipping.LARGEST_SHIPPED = 300_000
for folder in ("outputs", "checkpoints"):
    print(shipping.ship(Path(folder, {NAME!r})).record.sha256)
    sll_zoo.create_model({NAME!r}, pretrained=True)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkout in which the README's training has run, for two epochs, and what was in the checkout before."""
    root = checkout(tmp_path_factory.mktemp("trained") / "checkout")
    before = contents(root)
    run(root, "-m", "sll_zoo", *FIT)
    return root, before


@pytest.fixture
def root(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "checkout")


def contents(root):
    """Return the bytes of every file that a checkout keeps."""
    paths = [
        path for path in root.rglob("*") if path.is_file() and not {"outputs", "__pycache__"} & set(path.relative_to(root).parts)
    ]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def run(root, *arguments, status=0):
    """Run Python in a checkout, with its package, and return its output and errors."""
    process = subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment(root), capture_output=True, text=True, check=False, timeout=300
    )
    assert process.returncode == status, process.stderr
    return process.stdout, process.stderr


def record_of(folder):
    return from_dict(json.loads((folder / CONFIG_FILE).read_text())["certified"])


@pytest.mark.slow
def test_a_training_leaves_the_checkout_as_it_was(trained):
    root, before = trained
    assert contents(root) == before
    card = (root / "outputs" / NAME / "README.md").read_text("utf-8")
    assert 'create_model("local-dir:.", pretrained=True)' in card
    assert "PGD (100 steps, 5 restarts), on 2 of the 400 images, evenly spaced" in card


@pytest.mark.slow
def test_what_is_shipped_is_what_the_checkout_loads_records_and_shows(root, trained):
    out, err = run(root, "-m", "sll_zoo", "ship", f"outputs/{NAME}")
    assert "warning" not in err
    saved, shipped = root / "outputs" / NAME, root / "checkpoints" / NAME
    record = record_of(saved)
    assert out.startswith(f"{shipped}: {NAME}, 207,242 parameters; 400 images of digits")
    records = read_records(root / "sll_zoo/zoo/records")
    assert record_of(shipped) == records[NAME] == record
    assert {path.name for path in shipped.iterdir()} - {path.name for path in saved.iterdir()} == set(RESULTS)
    for name in ("model.safetensors", "training.yaml", "curve.png"):
        assert (shipped / name).read_bytes() == (saved / name).read_bytes()
    assert f'create_model("{NAME}", pretrained=True)' in (shipped / "README.md").read_text("utf-8")
    for page in ("README.md", "checkpoints/README.md"):
        text = (root / page).read_text("utf-8")
        assert text.split(BEGIN)[1].split(END)[0].strip() == render_models(records)
    changed = {name for name, content in contents(root).items() if trained[1].get(name) != content}
    folder = {f"checkpoints/{NAME}/{path.name}" for path in shipped.iterdir()}
    assert changed == {*folder, "README.md", "checkpoints/README.md", f"sll_zoo/zoo/records/{NAME}.json"}

    attacking = ["attack", NAME, "digits", "--limit", "3", "--steps", "2", "--restarts", "1", "--record"]
    run(root, "-m", "sll_zoo", *attacking)
    attacked = record_of(shipped)
    assert [one.n for one in attacked.measured.empirical] == [2, 3]
    assert read_records(root / "sll_zoo/zoo/records")[NAME] == attacked
    assert "PGD (2 steps, 1 restarts), on 3 of the 400 images" in (shipped / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_only_what_a_checkout_ships_has_to_be_small(root):
    out, _ = run(root, "-c", DIVIDED)
    shipped = root / "checkpoints" / NAME
    record = read_records(root / "sll_zoo/zoo/records")[NAME]
    assert (record.files, record_of(root / "outputs" / NAME).files) == (3, 1)
    assert record_of(shipped) == record
    assert out.split() == [record.sha256, record.sha256]
    assert len(list(shipped.glob("model-*-of-00003.safetensors"))) == 3
    assert not (shipped / "model.safetensors").exists()


def spoil(folder, **changes):
    config = json.loads((folder / CONFIG_FILE).read_text())
    config["certified"] |= changes
    (folder / CONFIG_FILE).write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"measured": None}, PublishError, "sll-zoo quantize"),
        ({"name": "sll_nano.mine"}, UnknownNameError, "'sll_nano.mine'.*TAGS"),
        ({"name": "sll_tiny.cifar10"}, PublishError, r"create_model\('sll_tiny.cifar10'\)"),
        ({"parameters": 1}, PublishError, r"\('sll', 1\)"),
        ({"sha256": "0" * 64}, WeightsError, "sha256"),
    ],
)
def test_what_fails_a_check_is_not_shipped(tmp_path, change, error, words):
    folder = shutil.copytree(CHECKPOINTS / NAME, tmp_path / NAME)
    spoil(folder, **change)
    before = {path: path.read_bytes() for path in CHECKPOINTS.rglob("*") if path.is_file()}
    with pytest.raises(error, match=words):
        ship(folder)
    assert {path: path.read_bytes() for path in CHECKPOINTS.rglob("*") if path.is_file()} == before


def test_accuracies_that_are_not_found_again_are_not_shipped(tmp_path):
    """The recorded sample is certified as it should be; only all images tell."""
    folder = shutil.copytree(CHECKPOINTS / NAME, tmp_path / NAME)
    measured = to_dict(read_records()[NAME])["measured"]
    measured["accuracy"]["clean"] = 0.9975
    spoil(folder, measured=measured)
    with pytest.raises(PublishError, match=r"99\.50 %.*99\.75 %"):
        ship(folder)


@pytest.mark.slow
def test_it_says_loudly_what_could_not_be_measured_again(root):
    config = json.loads((root / "outputs" / NAME / CONFIG_FILE).read_text())
    spoil(root / "outputs" / NAME, measured=config["certified"]["measured"] | {"source": None, "dataset": "mine"})
    _, err = run(root, "-m", "sll_zoo", "ship", f"outputs/{NAME}")
    assert "sll-zoo: warning: " in err
    assert " mine " in err
    assert not {path.name for path in (root / "checkpoints" / NAME).iterdir()} & set(RESULTS)  # of the weights before


@pytest.mark.parametrize(
    "command",
    [
        [*FIT, "--trainer.callbacks.folder", str(CHECKPOINTS / NAME)],
        ["quantize", NAME, "--data", "digits", "--out", str(CHECKPOINTS / NAME)],
    ],
)
def test_nothing_is_saved_into_the_checkout_beside_ship(command, monkeypatch, capsys):
    monkeypatch.chdir(CHECKPOINTS.parent)
    assert main(command) == 2
    assert f"save to outputs/{NAME}" in capsys.readouterr().err


def test_an_installed_package_has_no_checkout_to_ship_to(monkeypatch, tmp_path):
    from sll_zoo.errors import ConfigError
    from sll_zoo.zoo.publishing import ship as shipping

    monkeypatch.setattr(shipping, "CHECKPOINTS", tmp_path / "checkpoints")
    with pytest.raises(ConfigError, match="pip install -e"):
        ship(CHECKPOINTS / NAME)
