"""How fast and how large: this package, the formula written plainly, and a network without rescaling, side by side.

Run: make bench (writes speed.md and speed.json, in about ten minutes on two cores).
On a GPU: .venv/bin/python benchmarks/speed.py --device cuda --dtype bfloat16 --compile --batches 256 1024 --out speed_cuda
"""

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median

import torch
from record import environment, write_page
from speed_networks import FormulaLayer, Network, PlainLayer
from speed_page import page
from speed_roofline import Roof, measured_roof, seconds, works
from torch import Tensor, nn
from torch.nn import functional as F

import sll_zoo

NAMES = ("ours", "formula", "plain")
PEAK_BATCH, LEAST, MOST = 256, 3, 50
Call = Callable[[], object]


@dataclass
class Row:
    """One measurement: ``seconds`` is the median of n repetitions; ``predicted`` is the roofline's."""

    task: str
    batch: int
    name: str
    seconds: float
    n: int
    predicted: float


def build(model: str, name: str, device: torch.device) -> nn.Module:
    """Return one of the networks, all with the same weights, in its training form."""
    torch.manual_seed(0)
    ours = sll_zoo.create_model(model)
    layers = {"formula": FormulaLayer, "plain": PlainLayer}
    return (Network(ours, layers[name]) if name in layers else ours).to(device)


def training(network: nn.Module, images: Tensor, dtype: torch.dtype) -> Call:
    """Return a training step on ``images``, under autocast if ``dtype`` is not float32."""
    optimizer = torch.optim.Adam(network.parameters(), fused=True)
    labels = torch.arange(len(images), device=images.device) % 10

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(images.device.type, dtype, enabled=dtype != torch.float32):
            loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()

    return step


def inference(network: nn.Module, images: Tensor, dtype: torch.dtype) -> Call:
    """Return a pass over ``images`` without derivatives."""
    network, images = network.eval().to(dtype), images.to(dtype)
    return torch.no_grad()(lambda: network(images))


def measure(calls: dict[str, Call], device: torch.device, budget: float) -> dict[str, list[float]]:
    """Return the times of repetitions in turn, as many as fit in ``budget`` seconds, and three at least."""
    for call in calls.values():
        call()  # allocates, or compiles
    once = sum(seconds(call, device) for call in calls.values())
    times: dict[str, list[float]] = {key: [] for key in calls}
    for _ in range(max(LEAST, min(MOST, int(budget / once)))):
        for key, call in calls.items():
            times[key].append(seconds(call, device))
    return times


def networks_for(task: str, given: argparse.Namespace) -> dict[str, nn.Module]:
    """Return the networks by name, in inference also ours folded."""
    networks = {name: build(given.model, name, given.device) for name in NAMES}
    if task == "inference":
        networks["folded"] = sll_zoo.fold(networks["ours"], given.dtype)
    if given.compile:
        networks |= {f"{name}, compiled": torch.compile(network) for name, network in networks.items()}
    return networks


def speeds(given: argparse.Namespace, roof: Roof) -> list[Row]:
    """Measure training steps and inference at every batch."""
    config, rows = sll_zoo.create_model(given.model).config, []
    for task, prepare in (("training", training), ("inference", inference)):
        networks = networks_for(task, given)
        for batch in given.batches:
            images = torch.rand(batch, *config.input_shape, device=given.device)
            calls = {name: prepare(network, images, given.dtype) for name, network in networks.items()}
            for name, times in measure(calls, given.device, given.seconds).items():
                work = works(config, batch, given.dtype.itemsize, name.partition(",")[0], task)
                rows.append(Row(task, batch, name, median(times), len(times), sum(map(roof.seconds, work))))
    return rows


def difference_of_gradients(model: str, dtype: torch.dtype, batch: int = 8) -> float:
    """Return the largest relative difference between a parameter's gradients, ours and the formula's."""
    found = []
    for name in ("ours", "formula"):
        network = build(model, name, torch.device("cpu")).to(dtype)
        torch.manual_seed(0)
        images = torch.rand(batch, *sll_zoo.create_model(model).config.input_shape, dtype=dtype)
        F.cross_entropy(network(images), torch.arange(batch) % 10).backward()
        found.append({key: parameter.grad for key, parameter in network.named_parameters()})
    return max(float((found[0][key] - value).norm() / value.norm()) for key, value in found[1].items())


def peak(given: argparse.Namespace) -> tuple[float, float]:
    """Return MB before the network was built and at most, in two training steps of the network ``given.peak``."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    network = build(given.model, given.peak, given.device)
    step = training(network, torch.rand(PEAK_BATCH, 3, 32, 32, device=given.device), given.dtype)
    step()
    step()
    if given.device.type == "cuda":
        return 0.0, torch.cuda.max_memory_allocated() / 1e6
    return before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def peaks() -> dict[str, tuple[float, float]]:
    """Return :func:`peak` of each network, in a process of its own."""
    found = {}
    for name in NAMES:
        command = [sys.executable, __file__, *sys.argv[1:], "--peak", name]
        run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - this script
        found[name] = tuple(json.loads(run.stdout))
    return found


def arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sll_small")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--dtype", type=lambda name: getattr(torch, name), default=torch.float32)
    parser.add_argument("--compile", action="store_true", help="measure the compiled networks, too")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256, 1024])
    parser.add_argument("--seconds", type=float, default=15, help="of repetitions for each batch and task")
    parser.add_argument("--out", default="speed", help="name of the page and of the JSON file beside it")
    parser.add_argument("--peak", choices=NAMES, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and write the page."""
    given = arguments()
    if given.peak:
        print(json.dumps(peak(given)))  # noqa: T201 - what the process that called it reads
        return
    roof = measured_roof(given.device, given.dtype)
    result = {
        "environment": environment(),
        "device": torch.cuda.get_device_name() if given.device.type == "cuda" else "cpu",
        "commit": commit(),
        "model": given.model,
        "dtype": str(given.dtype),
        "roof": asdict(roof),
        "gradients": {name: difference_of_gradients(given.model, getattr(torch, name)) for name in ("float32", "float64")},
        "peaks": peaks(),
        "rows": [asdict(row) for row in speeds(given, roof)],
    }
    write_page(f"{given.out}.json", json.dumps(result, indent=1) + "\n")
    write_page(f"{given.out}.md", page(result))


def commit() -> str:
    """Return the commit that is measured, with a mark if files differ from it."""
    run = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)  # noqa: S607
    return run.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
