"""The command that trains the zoo's larger networks does all it does with a small one on a CPU, and nothing twice."""

import shutil
import subprocess
import sys

import pytest
import yaml

import sll_zoo
from sll_zoo.reports.attack import AUTOATTACK
from sll_zoo.zoo.folder import ModelFolder
from tests.checkouts import checkout, environment

pytestmark = pytest.mark.slow

MODEL = "sll_nano.digits"
# Code that runs each step twice; the second time there is nothing left to do.
SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, "benchmarks")
import zoo_gpu
zoo_gpu.ATTACKED, zoo_gpu.STEPS, zoo_gpu.RESTARTS = 2, 2, 1
for _ in range(2):
    zoo_gpu.ship(Path("training.yaml"), minutes=0.01, device="cpu")
    zoo_gpu.attack(Path("training.yaml"), device="cpu")
"""


def test_a_network_is_trained_packed_and_attacked_once(tmp_path):
    pytest.importorskip("pyautoattack")
    root = checkout(tmp_path / "checkout")
    shutil.rmtree(root / "checkpoints" / MODEL)
    settings = yaml.safe_load((root / "configs/digits/sll_nano.yaml").read_text("utf-8"))
    (save,) = settings["trainer"]["callbacks"]
    save["init_args"] = {"folder": "elsewhere"}
    (root / "training.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=root,
        env=environment(root),
        timeout=600,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    commands = [line.split()[1] for line in run.stdout.splitlines() if line.startswith("sll-zoo ")]
    assert commands == ["fit", "fit", "quantize", "ship", "attack", "attack"]
    assert not (root / "elsewhere").exists()
    folder = root / "checkpoints" / MODEL
    record = ModelFolder.read(folder).record
    assert record.bits < 32
    assert [(attacked.method, attacked.n) for attacked in record.measured.empirical] == [
        ("PGD (2 steps, 1 restarts)", 2),
        (AUTOATTACK, 2),
    ]
    sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)
