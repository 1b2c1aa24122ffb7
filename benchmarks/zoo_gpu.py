"""Train, pack, attack and ship the networks of the zoo that need a GPU, one after another: `make zoo-gpu`.

It needs the images in data/cifar10-jpeg, as configs/cifar10_jpeg/sll_tiny.yaml has them, and the extra sll-zoo[attack]. Each
network is trained for a number of minutes; a trial of two epochs shows how many epochs fit, and prints Lightning's profile. The
weights are packed with the fewest bits that cost at most 0.2 points of certified accuracy at 36/255, and shipped in checkpoints/
with record and card; then PGD and AutoAttack are run on 1,000 test images. After an interruption, the same command goes on from
where it was.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from record import HERE

import sll_zoo
from sll_zoo.certificates.attacking import METHODS
from sll_zoo.data import open_data
from sll_zoo.files import atomic_write
from sll_zoo.reports.attack import name_of
from sll_zoo.zoo.folder import CHECKPOINTS, ModelFolder
from sll_zoo.zoo.weights.reading import CONFIG_FILE

CONFIGS = HERE.parent / "configs/cifar10_jpeg"
# Minutes of training for each network, without measuring, in the order of training.
MINUTES = {"sll_small": 8.0, "sll_large": 12.0, "sll_convnet_m": 8.0}
BITS = (4, 6, 8)
EPS = 36 / 255
# Largest loss of certified accuracy at EPS by packing, as a fraction.
COST = 0.002
ATTACKED = 1_000
STEPS, RESTARTS = 100, 5


def main() -> None:
    """Ship each network of ``MINUTES``."""
    if not torch.cuda.is_available():
        sys.exit("torch finds no GPU here; on CPU cores, configs/cifar10_jpeg/sll_tiny.yaml is what can be trained")
    for name, minutes in MINUTES.items():
        ship(CONFIGS / f"{name}.yaml", minutes, "cuda")
    for name in MINUTES:
        attack(CONFIGS / f"{name}.yaml", "cuda")


def ship(config: Path, minutes: float, device: str) -> None:
    """Train and pack a network in ``outputs/`` of the current folder and ship it, as far as that is not done.

    Args:
        config: The configuration of its training.
        minutes: Minutes of training.
        device: ``cuda``, or ``cpu`` for a trial.
    """
    settings, name, data = described(config)
    work = Path("outputs/zoo") / name
    trained, packed = work / "trained", work / "packed"
    if not (CHECKPOINTS / name / CONFIG_FILE).exists():
        if not (trained / CONFIG_FILE).exists():
            train(settings, minutes, work)
        if not (packed / CONFIG_FILE).exists():
            bits = fewest_bits(f"local-dir:{trained}", data, device)
            run("quantize", f"local-dir:{trained}", "--out", packed, "--data", data, "--bits", bits, "--device", device)
        run("ship", packed)


def attack(config: Path, device: str) -> None:
    """Attack the network that :func:`ship` has shipped by every method that its record does not have yet."""
    _, name, data = described(config)
    folder = CHECKPOINTS / name
    for method in METHODS:
        record = ModelFolder.read(folder).record
        measured = record.measured if record else None
        done = {(attacked.method, attacked.n) for attacked in measured.empirical} if measured else set()
        if measured and (name_of(method, STEPS, RESTARTS), min(ATTACKED, measured.n)) not in done:
            options = ["--method", method, "--steps", STEPS, "--restarts", RESTARTS, "--limit", ATTACKED, "--device", device]
            run("attack", f"local-dir:{folder}", data, *options, "--record")


def described(config: Path) -> tuple[dict[str, Any], str, str]:
    """Return the settings of a training, its model, and its data as ``sll-zoo certify`` names them."""
    settings = yaml.safe_load(config.read_text("utf-8"))
    return settings, settings["model"]["name"], settings["data"].get("init_args", {}).get("root", "digits")


def train(settings: dict[str, Any], minutes: float, work: Path) -> None:
    """Train a network for so many minutes, and save it to ``work/trained``; go on if that was begun."""
    final = work / "training.yaml"
    if not final.exists():
        (save,) = (one for one in settings["trainer"]["callbacks"] if one["class_path"].endswith("SavePretrained"))
        save["init_args"]["folder"] = str(work / "trained")
        settings["trainer"]["max_epochs"] = max(1, int(60 * minutes / epoch_seconds(settings, save, work / "trial")))
        print(f"{settings['trainer']['max_epochs']} epochs in {minutes:g} minutes", flush=True)
        write(final, settings)
    begun = ["--ckpt_path", "last"] if list((work / "checkpoints").glob("*.ckpt")) else []
    fit(final, work / "checkpoints", *begun)


def epoch_seconds(settings: dict[str, Any], save: dict[str, Any], trial: Path) -> float:
    """Return the seconds of the second of two trial epochs, which has a checkpoint and no validation; print the profile."""
    report = {"class_path": "sll_zoo.training.callbacks.TrainingReport", "init_args": {"folder": str(trial)}}
    callbacks = [report, *(one for one in settings["trainer"]["callbacks"] if one is not save)]
    profiler = {
        "class_path": "lightning.pytorch.profilers.SimpleProfiler",
        "init_args": {"dirpath": str(trial), "filename": "profile"},
    }
    changed = {"max_epochs": 2, "callbacks": callbacks, "profiler": profiler}
    write(trial / "trial.yaml", settings | {"trainer": settings["trainer"] | changed})
    fit(trial / "trial.yaml", trial / "checkpoints")
    print((trial / "fit-profile.txt").read_text("utf-8"), flush=True)
    seconds: float = json.loads((trial / "metrics.json").read_text("utf-8"))["final"]["epoch_seconds"]
    return seconds


def fit(path: Path, checkpoints: Path, *options: object) -> None:
    """Run ``sll-zoo fit``."""
    run("fit", "--config", path, "--checkpoints.folder", checkpoints, "--trainer.enable_progress_bar", "false", *options)


def write(path: Path, settings: dict[str, Any]) -> None:
    """Write settings as YAML."""
    with atomic_write(path) as temporary:
        temporary.write_text(yaml.safe_dump(settings, sort_keys=False), "utf-8")


def fewest_bits(model: str, data: str, device: str) -> int:
    """Return the fewest bits of ``BITS`` that cost at most ``COST`` of certified accuracy; the most bits if none do."""
    network = sll_zoo.create_model(model, pretrained=True).eval().to(device)
    held_out = open_data(data, network.config.input_shape, network.num_classes)
    before = sll_zoo.evaluate(network, held_out.batches())
    for bits in BITS:
        lost = before.counts[EPS] - sll_zoo.evaluate(sll_zoo.quantize(network, bits), held_out.batches()).counts[EPS]
        print(f"{bits} bits: {lost} of {before.n} images less are certified at 36/255", flush=True)
        if lost <= COST * before.n:
            break
    return bits


def run(command: str, *arguments: object) -> None:
    """Run a command of ``sll-zoo``; if it is interrupted, wait until it ends, and if it fails, end as well."""
    words = [sys.executable, "-m", "sll_zoo", command, *map(str, arguments)]
    print("sll-zoo", *words[3:], flush=True)
    process = subprocess.Popen(words)  # noqa: S603 - commands of this file
    # Ctrl-C in a terminal sends SIGINT to both processes.
    handlers = {signal.SIGTERM: lambda *_: process.terminate(), signal.SIGINT: lambda *_: None}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    status = process.wait()
    for number, handler in before.items():
        signal.signal(number, handler)
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()
