"""A race of recipes on genuine CIFAR-10: successive halving, decided by validation images certified at 36/255.

A candidate is what it changes of ``race/base.yaml``, a configuration of ``sll-zoo fit``; all are in ``race/candidates.yaml``. In
a round each has the same processor time on one core: the seconds of its step are measured first, and its number of steps follows.
Each starts afresh in each round, since its schedule depends on its length. The test images are not touched.

Run: .venv/bin/python benchmarks/race.py DATA, with CIFAR-10 in DATA: two trainings at a time, until all rounds are done.
It may be killed and started again. Each result is a file in race/; race.md and race.png are written after each.
One candidate alone: .venv/bin/python benchmarks/race.py DATA --only NAME --minutes 10
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import torch
import yaml
from clock import Clock
from lightning import Trainer
from record import HERE, environment, write_page

from sll_zoo.cli.training import run_lightning
from sll_zoo.files import atomic_write
from sll_zoo.reports.words import percent, table

FOLDER = HERE / "race"
BASE, CANDIDATES = FOLDER / "base.yaml", FOLDER / "candidates.yaml"
# Minutes of one core for each candidate, and how many candidates run: the best of the round before.
ROUNDS = ((10, 100), (30, 6), (90, 3))
CORES = 2
DECIDES = "val/certified_acc_36"
SHOWN = {"val/acc": "clean"} | {f"val/certified_acc_{level}": f"{level}/255" for level in (36, 72, 108, 255)}
WARMUP_STEPS, TIMED_STEPS = 5, 20
MOST_BATCHES = 351  # of an epoch of 45,000 images in batches of 128
LEAST_POINTS = 8  # of the curve of a training

PAGE = """# A race of recipes
Trainings on the 45,000 training images of CIFAR-10, on one core, {rounds} minutes of its time. The 5,000 validation images
decide, by how many of them are certified at 36/255; the test images have not been looked at. L2, ε in pixels of [0, 1],
validation in the precision of the training, one seed: differences below one point mean little. What a candidate changes is in
`race/candidates.yaml`, all else in `race/base.yaml`; `race/NAME.MINUTES.json` has each run.

![Certified accuracy at 36/255 against minutes of one core](race.png)

{tables}

{environment}. `benchmarks/race.py` makes this page.
"""


def result_of(name: str, minutes: int) -> Path:
    """Return the file of a result."""
    return FOLDER / f"{name}.{minutes}.json"


def candidates() -> dict[str, dict[str, Any]]:
    """Return what each candidate changes."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(CANDIDATES.read_text("utf-8"))
    return found


def changed(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with changes: part by part, except where another class is named; ``key+`` adds to a list."""
    if changes.get("class_path", base.get("class_path")) != base.get("class_path"):
        return changes
    result = dict(base)
    for key, value in changes.items():
        if key.endswith("+"):
            result[key[:-1]] = base[key[:-1]] + value
        else:
            result[key] = changed(base[key], value) if isinstance(value, dict) and key in base else value
    return result


def train(options: Iterable[str]) -> tuple[Trainer, Clock]:
    """Train as ``sll-zoo fit`` does, and return the trainer and its clock."""
    trainer: Trainer = run_lightning(["fit", *options]).trainer
    (clock,) = [callback for callback in trainer.callbacks if isinstance(callback, Clock)]
    return trainer, clock


def seconds_of_a_step(options: Iterable[str]) -> float:
    """Return the median processor time of a training step."""
    short = ["--trainer.max_steps", str(WARMUP_STEPS + TIMED_STEPS), "--trainer.limit_val_batches", "0"]
    _, clock = train([*options, *short, "--trainer.enable_checkpointing", "false"])
    return torch.tensor(clock.steps[WARMUP_STEPS:]).median().item()


def run(name: str, minutes: int, data: str, work: Path) -> None:
    """Train one candidate for so many minutes of one core, and write its result; goes on from a checkpoint."""
    torch.set_num_threads(1)
    folder = work / f"{name}.{minutes}"
    folder.mkdir(parents=True, exist_ok=True)
    config, length = folder / "config.yaml", folder / "length.json"
    config.write_text(yaml.safe_dump(changed(yaml.safe_load(BASE.read_text("utf-8")), candidates()[name])), "utf-8")
    options = ["--config", str(config), "--data.root", data, "--trainer.enable_progress_bar", "false"]
    options += ["--trainer.logger.init_args.save_dir", str(folder)]
    if not length.exists():
        seconds = seconds_of_a_step(options)
        steps = round(60 * minutes / seconds)
        parts = max(LEAST_POINTS, -(-steps // MOST_BATCHES))
        with atomic_write(length) as temporary:
            temporary.write_text(json.dumps({"max_epochs": parts, "limit_train_batches": steps // parts}), "utf-8")
    for option, value in json.loads(length.read_text("utf-8")).items():
        options += [f"--trainer.{option}", str(value)]
    options += ["--checkpoints.folder", str(folder)]
    if list(folder.glob("last*.ckpt")):
        options += ["--ckpt_path", "last"]
    trainer, _ = train(options)
    history = json.loads((Path(trainer.log_dir) / "metrics.json").read_text("utf-8"))["history"]
    shown = {"minutes": "minutes"} | SHOWN
    result = {
        "name": name,
        "minutes": minutes,
        "changes": candidates()[name],
        "parameters": sum(parameter.numel() for parameter in trainer.lightning_module.model.parameters()),
        "epochs": trainer.global_step * trainer.datamodule.batch_size / len(trainer.datamodule.part("train")),
        "loss": {"training": history[-1]["train/epoch_loss"], "validation": history[-1]["val/loss"]},
        "curve": [{title: round(row[key], 4) for key, title in shown.items()} for row in history],
        "environment": environment(),
    }
    with atomic_write(result_of(name, minutes)) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def results(minutes: int) -> list[dict[str, Any]]:
    """Return the results of a round, the best first."""
    found = [json.loads(path.read_text("utf-8")) for path in FOLDER.glob(f"*.{minutes}.json")]
    return sorted((result for result in found if "failed" not in result), key=lambda result: -result["curve"][-1]["36/255"])


def failures() -> str:
    """Return the candidates that ended with an error, and what it said, as a paragraph; empty if there are none."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))]
    said = [f"`{result['name']}` at {result['minutes']} minutes ({result['failed']})" for result in found if "failed" in result]
    return f"\n\nFailed: {', '.join(said)}." if said else ""


def write_results() -> None:
    """Write page and picture of all results that there are."""
    rounds = {minutes: found for minutes, _ in ROUNDS if (found := results(minutes))}
    if not rounds:
        return
    figure, axes = plt.subplots(figsize=(9, 5.5), layout="constrained")
    for minutes, found in rounds.items():
        for result in found:
            color = plt.get_cmap("tab20")(list(candidates()).index(result["name"]) % 20)
            spent, certified = zip(*((row["minutes"], 100 * row["36/255"]) for row in result["curve"]), strict=True)
            longest = minutes == max(other for other, each in rounds.items() if result["name"] in [one["name"] for one in each])
            axes.plot(spent, certified, color=color, linewidth=1, label=result["name"] if longest else None)
            axes.plot(spent[-1], certified[-1], "o", color=color, markersize=3)
    axes.set(xscale="log", xlabel="minutes of one core", ylabel="% certified at 36/255, validation images")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=7)
    with atomic_write(HERE / "race.png") as temporary:
        figure.savefig(temporary, dpi=120, format="png")
    plt.close(figure)
    head = ["candidate", "parameters", "epochs", *SHOWN.values(), "loss in training", "in validation"]
    tables = []
    for minutes, found in rounds.items():
        rows = [
            [
                f"`{one['name']}`",
                f"{one['parameters'] / 1e6:.2f} M",
                f"{one['epochs']:.1f}",
                *(percent(one["curve"][-1][title]) for title in SHOWN.values()),
                *(f"{value:.3f}" for value in one["loss"].values()),
            ]
            for one in found
        ]
        tables.append(f"## {minutes} minutes of one core\n{table(head, rows)}")
    measured = rounds[min(rounds)][0]["environment"]
    page = PAGE.format(rounds=", ".join(map(str, rounds)), tables="\n\n".join(tables) + failures(), environment=measured)
    write_page("race.md", page)


def start(name: str, minutes: int, arguments: argparse.Namespace) -> None:
    """Run a candidate in a process of its own, on one thread, unless its result is there; an error is a result, too."""
    path = result_of(name, minutes)
    if path.exists() and json.loads(path.read_text("utf-8"))["changes"] == candidates()[name]:
        return
    command = [sys.executable, __file__, arguments.data, "--work", str(arguments.work), "--only", name, "--minutes", str(minutes)]
    log = arguments.work / f"{name}.{minutes}.log"
    with log.open("a") as file:
        done = subprocess.run(  # noqa: S603 - this script
            command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=file, stderr=file, check=False
        )
    if done.returncode > 0:  # not by a signal
        said = log.read_text("utf-8").strip().splitlines()[-1]
        result = {"name": name, "minutes": minutes, "changes": candidates()[name], "failed": said}
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(f"{name}, {minutes} minutes: status {done.returncode}", flush=True)
    write_results()


def main() -> None:
    """Run all rounds, or one candidate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder of CIFAR-10")
    parser.add_argument("--work", type=Path, default="outputs/race", help="where checkpoints go (%(default)s)")
    parser.add_argument("--only", metavar="NAME", help="this candidate alone")
    parser.add_argument("--minutes", type=int, default=ROUNDS[0][0], help="of one core, for --only (%(default)s)")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.only:
        run(arguments.only, arguments.minutes, arguments.data, arguments.work)
        return
    names = list(candidates())
    for minutes, most in ROUNDS:
        names = names[:most]
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(lambda name, minutes=minutes: start(name, minutes, arguments), names))
        names = [result["name"] for result in results(minutes) if result["name"] in names]
    write_results()


if __name__ == "__main__":
    main()
