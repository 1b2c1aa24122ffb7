"""Train, pack, attack and ship the networks of the zoo that need a GPU, one after another: `make zoo-gpu`.

It needs the images in data/cifar10-jpeg, as configs/cifar10_jpeg/sll_tiny.yaml has them, and the extra sll-zoo[attack]. Each
network has a number of minutes, of which two epochs before say how many epochs they are; Lightning's profile of the two is shown.
The weights are packed with the fewest bits that cost at most 0.2 points of certified accuracy at 36/255, and written to
checkpoints/ with record and card; then PGD and AutoAttack are run on 1,000 test images. What is done stays done: after an
interruption, the same command goes on from there.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from record import HERE

import sll_zoo
from sll_zoo.attack_report import name_of
from sll_zoo.attacking import METHODS
from sll_zoo.data import open_data
from sll_zoo.files import written_whole
from sll_zoo.zoo.card import percent
from sll_zoo.zoo.reading import CONFIG_FILE, read_config, stated_record

CONFIGS = HERE.parent / "configs/cifar10_jpeg"
# In the order of training; of training alone.
MINUTES = {"sll_small": 8.0, "sll_large": 12.0, "sll_convnet_m": 8.0}
BITS = (4, 6, 8)
EPS = 36 / 255
# Of certified accuracy at EPS, that packing may take.
COST = 0.002
ATTACKED = 1_000
STEPS, RESTARTS = 100, 5


def main() -> None:
    """Ship each network of ``MINUTES``."""
    if not torch.cuda.is_available():
        sys.exit("torch finds no GPU here; on CPU cores, configs/cifar10_jpeg/sll_tiny.yaml is what can be trained")
    for name, minutes in MINUTES.items():
        ship(CONFIGS / f"{name}.yaml", minutes, "cuda")


def ship(config: Path, minutes: float, device: str) -> None:
    """Do what is left to do for a network, in the current folder.

    Args:
        config: That it is trained by.
        minutes: Of training.
        device: ``cuda``, or ``cpu`` for a trial.
    """
    settings = yaml.safe_load(config.read_text("utf-8"))
    name, data = settings["model"]["name"], settings["data"].get("init_args", {}).get("root", "digits")
    work, folder = Path("outputs/zoo") / name, Path("checkpoints") / name
    trained = work / "trained"
    if not (folder / CONFIG_FILE).exists():
        if not (trained / CONFIG_FILE).exists():
            train(settings, minutes, work)
        bits = fewest_bits(f"local-dir:{trained}", data, device)
        run("quantize", f"local-dir:{trained}", "--out", folder, "--data", data, "--bits", bits, "--device", device)
    for method in METHODS:
        record = stated_record(read_config(folder / CONFIG_FILE))
        attacks = record.measured.empirical if record and record.measured else ()
        if all(attacked.method != name_of(method, STEPS, RESTARTS) for attacked in attacks):
            options = ["--method", method, "--steps", STEPS, "--restarts", RESTARTS, "--limit", ATTACKED, "--device", device]
            run("attack", f"local-dir:{folder}", data, *options, "--record")


def train(settings: dict[str, Any], minutes: float, work: Path) -> None:
    """Train a network for so many minutes, and export it to ``work/trained``; go on if that was begun."""
    final = work / "training.yaml"
    if not final.exists():
        report = {"class_path": "sll_zoo.callbacks.TrainingReport", "init_args": {"folder": str(work / "trial")}}
        trial = {"max_epochs": 2, "callbacks": [report], "enable_checkpointing": False, "profiler": "simple"}
        fit(settings | {"trainer": settings["trainer"] | trial}, work / "trial.yaml")
        seconds = json.loads((work / "trial/metrics.json").read_text("utf-8"))["final"]["epoch_seconds"]
        settings["trainer"]["max_epochs"] = max(1, int(60 * minutes / seconds))
        print(f"{seconds:.1f} s an epoch: {settings['trainer']['max_epochs']} epochs in {minutes:g} minutes", flush=True)
        (export,) = (one for one in settings["trainer"]["callbacks"] if one["class_path"].endswith("ExportModel"))
        export["init_args"]["folder"] = str(work / "trained")
        write(final, settings)
    begun = ["--ckpt_path", "last"] if list((work / "checkpoints").glob("*.ckpt")) else []
    fit(None, final, "--checkpoints.folder", work / "checkpoints", *begun)


def fit(settings: dict[str, Any] | None, path: Path, *options: object) -> None:
    """Run ``sll-zoo fit`` with these settings, written to ``path``, or with those that are there."""
    if settings:
        write(path, settings)
    run("fit", "--config", path, "--trainer.enable_progress_bar", "false", *options)


def write(path: Path, settings: dict[str, Any]) -> None:
    """Write settings as YAML."""
    with written_whole(path) as temporary:
        temporary.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")


def fewest_bits(model: str, data: str, device: str) -> int:
    """Return with how many bits a weight a network stays within ``COST`` of its certified accuracy."""
    network = sll_zoo.create_model(model, pretrained=True).eval().to(device)
    held_out = open_data(data, network.config.input_shape, network.num_classes)
    before = sll_zoo.evaluate(network, held_out.batches()).certified[EPS]
    for bits in BITS:
        after = sll_zoo.evaluate(sll_zoo.quantize(network, bits), held_out.batches()).certified[EPS]
        print(f"{bits} bits: {percent(after)} certified at 36/255, instead of {percent(before)}", flush=True)
        if before - after <= COST:
            return bits
    return 32


def run(command: str, *arguments: object) -> None:
    """Run a command of ``sll-zoo``, and end with it if it fails."""
    words = [sys.executable, "-m", "sll_zoo", command, *map(str, arguments)]
    print("sll-zoo", *words[3:], flush=True)
    if status := subprocess.run(words, check=False).returncode:  # noqa: S603 - commands of this file
        sys.exit(status)


if __name__ == "__main__":
    main()
