"""A race of recipes on genuine CIFAR-10: successive halving, decided by validation images certified at 36/255.

A candidate is what it changes of ``race/base.yaml``, options of ``sll-zoo fit``; all are in ``race/candidates.yaml``. In a round
each has the same processor time on one core: the time of its step is measured first, beside that of base.yaml, and its number of
steps follows. Each starts afresh in each round, since its schedule depends on its length. The test images are not touched.

Run: .venv/bin/python benchmarks/race.py DATA, with CIFAR-10 in DATA: two trainings at a time, until all rounds are done.
It may be killed and started again. Each result is a file in race/; race.md and race.png are written after each.
One candidate alone: .venv/bin/python benchmarks/race.py DATA --only NAME --minutes 10
"""

import argparse
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import torch
import yaml
from clock import Clock
from filelock import FileLock
from lightning import Trainer
from matplotlib import colormaps
from matplotlib.figure import Figure
from record import HERE, environment, write_page

from sll_zoo.cli.training import run_lightning
from sll_zoo.files import atomic_write
from sll_zoo.reports.words import percent, table
from sll_zoo.training.memory import keep_freed_memory

FOLDER = HERE / "race"
BASE, CANDIDATES = FOLDER / "base.yaml", FOLDER / "candidates.yaml"
# Minutes of one core for each candidate, and how many candidates run: the best of the round before.
ROUNDS = ((10, 100), (30, 6), (90, 3))
CORES = 2
SHOWN = {"val/acc": "clean"} | {f"val/certified_acc_{level}": f"{level}/255" for level in (36, 72, 108, 255)}
DECIDES = "36/255"
WARMUP_STEPS, TIMED_STEPS = 5, 20
# Steps of base.yaml in a minute of one idle core, an AMD EPYC. A busy core is slower, but does as much in what counts as one.
STEPS_A_MINUTE = 517
LEAST_POINTS = 8  # of the curve of a training

PAGE = """# A race of recipes
Trainings on the 45,000 training images of CIFAR-10, on one core, {rounds} minutes of its time, validation apart. The 5,000
validation images decide, by how many of them are certified at 36/255; the test images have not been looked at. L2, ε in pixels of
[0, 1], validation in the precision of the training, one seed: differences below one point mean little. What a candidate changes
is in `race/candidates.yaml`, all else in `race/base.yaml`; `race/NAME.MINUTES.json` has each run.

![Certified accuracy at 36/255 against minutes of one core](race.png)

{tables}

A minute is {steps} steps of `base.yaml`, beside which each candidate is timed. Other work on the machine disturbs that:
candidates that change the loss alone, and cost what `windows` costs, got 12.6 to 15.9 epochs where it got 14.7. The picture has
the time that each took, beside other work up to half as much again.

## What was learnt
- The cosine transform of patches is worth a point (`windows` against `pixels`).
- Dense layers on windows go through more images in a minute than kernels and are as far after ten minutes. After thirty, kernels
  are first of all: their losses in training and validation differ by 0.09, those of `windows` by 0.16. After ninety they have
  gained 0.4 more, and `regularized`, of windows, has gained nothing. On traffic signs (2,760 images of signs not trained on)
  `sll_windows_s` has 54.9 % clean and 46.2 % certified at 36/255 after 30 epochs with a crop, `sll_tiny` 56.3 and 47.1 after 20.
- More depth, more width or larger patches at equal time change little: `patch4` gains nothing, `deep` and `wide` lose a point.
- A tighter T (`sll4`, `cpl`) costs epochs, and in ten minutes of one core more than it gives.
- MaxMin behind residual layers costs four points with SLL and two and a half with CPL.
- The loss chooses the radius: temperature 0.5 has five points more at 255/255 than `windows`, and three less at 36/255. Offset
  0.7, with or without certificate regularisation, has one to three less at 255/255 after ten minutes and after thirty, and at
  36/255 nothing more after ten, and 1.2 more after thirty. Logit annealing has two less at 255/255, nothing more at 36/255.
- Without dense layers behind them, block reflectors, Cayley transforms and `lires` are nine to twelve points behind. They have a
  tenth of the weights, and the first two see three fifths of the images in ten minutes.
- After ten minutes Muon has the lowest losses of all whose loss is that of `windows`, and is ahead of it at every radius: by 0.3
  points at 36/255, which means little with one seed, and by 1.3 at 255/255. After thirty it is ahead at 36/255 alone. SGD with
  one cycle sees more images than `windows`, and is two and a half points behind at 36/255. Averaged weights show no gain.
- Three times as long gives kernels 2.4 points, offset 0.7 with and without certificate regularisation 1.6 and 2.1, the others
  0.6 or 0.7. Without a crop the loss in training falls away from that in validation: with Muon to 0.54 and 0.82, and with
  `regularized` in ninety minutes to 0.30 and 0.56, which is where it was after thirty.
- A crop costs three points in ten minutes: it is for long trainings. On traffic signs it costs more: without it `sll_tiny` has
  64.2 and 54.1 % [after 12 epochs](traffic_signs.md).

{environment}. `benchmarks/race.py` makes this page.
"""
_writing = threading.Lock()
_running: list[subprocess.Popen[bytes]] = []


def candidates() -> dict[str, dict[str, Any]]:
    """Return what each candidate changes."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(CANDIDATES.read_text("utf-8"))
    return found


def configuration(name: str) -> dict[str, Any]:
    """Return the options of a candidate's training, all but its length."""
    return changed(yaml.safe_load(BASE.read_text("utf-8")), candidates()[name])


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


def result_of(name: str, minutes: int) -> dict[str, Any] | None:
    """Return the result of a candidate as it is configured now; None without one."""
    path = FOLDER / f"{name}.{minutes}.json"
    result = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return result if result.get("configuration") == configuration(name) else None


def results(minutes: int) -> list[dict[str, Any]]:
    """Return the results of a round, the best first, and last those of candidates that ended with an error."""
    found = [result for name in candidates() if (result := result_of(name, minutes))]
    return sorted(found, key=lambda result: -result["curve"][-1][DECIDES] if "curve" in result else 0)


def write_result(name: str, minutes: int, values: dict[str, Any]) -> None:
    """Write what came out of a candidate's training."""
    result = {"name": name, "minutes": minutes, "configuration": configuration(name)} | values
    with atomic_write(FOLDER / f"{name}.{minutes}.json") as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def train(options: Iterable[str]) -> tuple[Trainer, Clock]:
    """Train as ``sll-zoo fit`` does, and return the trainer and its clock."""
    trainer: Trainer = run_lightning(["fit", *options]).trainer
    (clock,) = [callback for callback in trainer.callbacks if isinstance(callback, Clock)]
    return trainer, clock


def timed(config: Path, options: Iterable[str]) -> tuple[Trainer, float]:
    """Return the trainer of a few steps, and the median time of a step."""
    short = ["--trainer.max_steps", str(WARMUP_STEPS + TIMED_STEPS), "--trainer.limit_val_batches", "0"]
    trainer, clock = train(["--config", str(config), *options, *short, "--trainer.enable_checkpointing", "false"])
    return trainer, median(clock.steps[WARMUP_STEPS:])


def length(minutes: int, config: Path, options: Iterable[str]) -> dict[str, int]:
    """Return the options for a training of so many minutes, from the time of its step beside that of base.yaml."""
    before, (trainer, seconds), after = timed(BASE, options)[1], timed(config, options), timed(BASE, options)[1]
    steps = round(minutes * STEPS_A_MINUTE * (before + after) / 2 / seconds)
    parts = max(LEAST_POINTS, math.ceil(steps / len(trainer.train_dataloader)))
    return {"max_epochs": parts, "limit_train_batches": max(1, steps // parts)}


def run(name: str, minutes: int, data: str, work: Path) -> None:
    """Train one candidate for so many minutes of one core, and write its result; goes on from a checkpoint."""
    torch.set_num_threads(1)
    keep_freed_memory()
    folder, text = work / f"{name}.{minutes}", yaml.safe_dump(configuration(name))
    config, lengths = folder / "config.yaml", folder / "length.json"
    if not config.exists() or config.read_text("utf-8") != text:  # what is there is of another candidate
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        config.write_text(text, "utf-8")
    options = ["--data.root", data, "--trainer.enable_progress_bar", "false"]
    options += ["--trainer.logger.init_args.save_dir", str(folder)]
    if not lengths.exists():
        with atomic_write(lengths) as temporary:
            temporary.write_text(json.dumps(length(minutes, config, options)), "utf-8")
    for option, value in json.loads(lengths.read_text("utf-8")).items():
        options += [f"--trainer.{option}", str(value)]
    options += ["--checkpoints.folder", str(folder)]
    if list(folder.glob("last*.ckpt")):
        options += ["--ckpt_path", "last"]
    trainer, _ = train(["--config", str(config), *options])
    history = json.loads((Path(trainer.log_dir) / "metrics.json").read_text("utf-8"))["history"]
    shown = {"minutes": "minutes"} | SHOWN
    write_result(name, minutes, {
        "parameters": sum(parameter.numel() for parameter in trainer.lightning_module.model.parameters()),
        "epochs": trainer.global_step * trainer.datamodule.batch_size / len(trainer.datamodule.part("train")),
        "loss": {"training": history[-1]["train/epoch_loss"], "validation": history[-1]["val/loss"]},
        "curve": [{title: round(row[key], 4) for key, title in shown.items()} for row in history],
        "environment": environment(),
    })  # fmt: skip


def draw(rounds: dict[int, list[dict[str, Any]]]) -> None:
    """Draw certified accuracy against time, a line for each training."""
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes, names, labelled = figure.subplots(), list(candidates()), set()
    for minutes in sorted(rounds, reverse=True):
        for result in rounds[minutes]:
            place = names.index(result["name"])
            style = {"color": colormaps["tab20"](place % 20), "linestyle": ("-", "--")[place // 20], "linewidth": 1}
            spent, certified = zip(*((row["minutes"], 100 * row[DECIDES]) for row in result["curve"]), strict=True)
            axes.plot(spent, certified, **style, label=None if result["name"] in labelled else result["name"])
            axes.plot(spent[-1], certified[-1], "o", color=style["color"], markersize=3)
            labelled.add(result["name"])
    axes.set(xscale="log", xlabel="minutes of one core", ylabel="% certified at 36/255, validation images")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=7)
    with atomic_write(HERE / "race.png") as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def write_results() -> None:
    """Write page and picture of all results that there are."""
    rounds, tables = {}, []
    for minutes, _ in ROUNDS:
        found = results(minutes)
        ended, failed = ([one for one in found if ("curve" in one) == wanted] for wanted in (True, False))
        if not ended:
            continue
        rounds[minutes] = ended
        rows = [
            [
                f"`{one['name']}`",
                f"{one['parameters'] / 1e6:.2f} M",
                f"{one['epochs']:.1f}",
                *(percent(one["curve"][-1][title]) for title in SHOWN.values()),
                *(f"{value:.3f}" for value in one["loss"].values()),
            ]
            for one in ended
        ]
        head = ["candidate", "parameters", "epochs", *SHOWN.values(), "loss in training", "in validation"]
        lines = [f"\n`{one['name']}` failed: {one['failed']}" for one in failed]
        tables.append("\n".join([f"## {minutes} minutes of one core", table(head, rows), *lines]))
    if rounds:
        draw(rounds)
        measured = rounds[min(rounds)][0]["environment"]
        page = PAGE.format(
            steps=STEPS_A_MINUTE, rounds=", ".join(map(str, rounds)), tables="\n\n".join(tables), environment=measured
        )
        write_page("race.md", page)


def start(name: str, minutes: int, arguments: argparse.Namespace) -> None:
    """Run a candidate in a process of its own, on one thread, unless its result is there."""
    if result_of(name, minutes):
        return
    command = [sys.executable, __file__, arguments.data, "--work", str(arguments.work), "--only", name, "--minutes", str(minutes)]
    with (arguments.work / f"{name}.{minutes}.log").open("a") as log:
        process = subprocess.Popen(  # noqa: S603 - this script
            command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log
        )
        _running.append(process)
        status = process.wait()
    if not result_of(name, minutes):
        raise RuntimeError(f"{name} ended with status {status} and no result: see {log.name}")
    print(f"{name}, {minutes} minutes: done", flush=True)
    with _writing:
        write_results()


def race(arguments: argparse.Namespace) -> None:
    """Run all rounds."""
    names = list(candidates())
    for minutes, most in ROUNDS:
        with ThreadPoolExecutor(CORES) as pool:
            try:
                list(pool.map(lambda name, minutes=minutes: start(name, minutes, arguments), names[:most]))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                for process in _running:
                    process.terminate()  # it writes a checkpoint
                raise
        names = [result["name"] for result in results(minutes) if result["name"] in names[:most] and "curve" in result]


def main() -> None:
    """Run all rounds, or one candidate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="folder of CIFAR-10")
    parser.add_argument("--work", type=Path, default="outputs/race", help="where checkpoints go (%(default)s)")
    parser.add_argument("--only", choices=list(candidates()), help="this candidate alone", metavar="NAME")
    parser.add_argument("--minutes", type=int, default=ROUNDS[0][0], help="of one core, for --only (%(default)s)")
    arguments = parser.parse_args()
    if arguments.minutes < 1:
        parser.error(f"--minutes {arguments.minutes}: give 1 or more")
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.only:
        try:
            run(arguments.only, arguments.minutes, arguments.data, arguments.work)
        except (ArithmeticError, RuntimeError, ValueError) as error:  # of the training, not of its interruption
            write_result(arguments.only, arguments.minutes, {"failed": f"{type(error).__name__}: {error}"})
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with FileLock(arguments.work / "race.lock", timeout=0):
        race(arguments)


if __name__ == "__main__":
    main()
