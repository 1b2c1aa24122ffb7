"""Where users wait: certificates, audits, publishing, an attack, and training steps, beside what they could be compared with.

Run on an idle machine, about 15 minutes: .venv/bin/python benchmarks/waiting.py DATA, with CIFAR-10 in DATA; writes waiting.md.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from operations import Operations
from record import HERE, environment, resident_peak, write_page
from speed_networks import Network, PlainLayer
from timing import in_turn, seconds, stepping
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.profiler import profile

import sll_zoo
from sll_zoo.certificates.certification import certificate_of
from sll_zoo.functional import convolution
from sll_zoo.layers.derived import begin_batch, end_batches
from sll_zoo.reports.words import percent, table
from sll_zoo.training.memory import keep_freed_memory
from sll_zoo.zoo.publishing.save import save_pretrained

MODEL, IMAGES, REPEATS = "sll_tiny.cifar10", 256, 5
AUDITED = ("sll_convnet_l", "sll_large", "sll_xlarge")
PUBLISHED = "sll_medium"
LARGE, PART, PARTS, REPEATS_LARGE = "sll_large", 64, 4, 3
BATCH = 128
FAMILIES = ("sll", "bro", "orthogonal", "sandwich")
# Operations by parts of their names; factorisations with their solutions.
SHARES = {
    "Fourier transforms": ("_fft",),
    "factorisations": ("linalg_lu", "linalg_solve", "linalg_cholesky", "linalg_inv", "cholesky_inverse"),
    "products": ("mm", "convolution", "linear"),
}
PAGE = """# Where do users wait?
Medians of {repeats} in turn, in one process, unless one call is said.

## A certificate
`{model}` folded, in float64, {images} images at a time, with the package's products of matrices and with PyTorch's convolutions.
The roofline is the time of as many operations in one large product of matrices, {f64:.0f} GFLOP/s.

{certificates}

The logits agree to {agreement:.0e}. `sll-zoo certify {model}` takes {evaluation:.0f} s for all 10,000 test
images of CIFAR-10, from the start of Python to the table, a median of 3 calls.

## An audit
One call, in a process of its own. Every layer's condition is proved by Cholesky decompositions at every frequency, and
searched for counterexamples; memory is the most that the process had.

{audits}

## Publishing
One call of `sll-zoo publish` takes {publish:.0f} s for the {megabytes:.0f} MB of `{published}`, to a Hub on the same
machine: the audit, a certificate of {few} images, the card, the checksums and the transfer.

## An attack
One call of `sll-zoo attack`: 100 images of CIFAR-10, PGD of 100 steps with 2 restarts just inside each certified radius and in
the balls of 4 radii, takes {attack:.0f} s. Nine of ten steps are forward and backward passes in
bfloat16, for which this processor has instructions.

## A training step
`{tiny}` in bfloat16, batch {batch}: {tiny_rate:.0f} images a second, {tiny_seconds:.3f} s a step. As one large product of
matrices ({bf16:.0f} GFLOP/s in bfloat16) its operations would take {tiny_least:.3f} s, {tiny_share} of it. Of the time,
{tiny_parts}.

`{large}` in bfloat16, {parts} batches of {part} accumulated for one step of the optimizer, medians of {repeats_large}:
{large_each:.1f} s with T computed for each batch, {large_once:.1f} s with T once, {large_ratio:.2f} times as fast. That gradients
are the same is [tested](../tests/training/test_accumulation.py).

## Other families
`{tiny}` without dense layers, in float32 at batch {part}, a training step, beside plain convolutions of the same shapes, without
a rescaling. For each frequency, the circular families multiply the transformed images by a matrix.

{families}

{environment}, sll_zoo {version}. `benchmarks/waiting.py` makes this page.
"""


def product_rate(dtype: torch.dtype) -> float:
    """Return the operations a second of a large product of matrices."""
    a = torch.rand(2048, 2048).to(dtype)
    return 2 * 2048**3 / in_turn(lambda: a @ a, repeats=REPEATS)[0]


@contextmanager
def plain_convolutions() -> Iterator[None]:
    """Let PyTorch compute the convolutions of float64."""
    with mock.patch.object(convolution, "products_are_faster", return_value=False):
        yield


@torch.no_grad()
def certificates() -> dict[str, Any]:
    """Return the rates of certificates, and how far the logits of both ways are apart."""
    model = sll_zoo.fold(sll_zoo.create_model(MODEL, pretrained=True).eval(), torch.float64)
    images = torch.rand(IMAGES, *model.config.input_shape, dtype=torch.float64)

    def plain() -> Tensor:
        with plain_convolutions():
            return certificate_of(model, images).radius

    ours, theirs = in_turn(lambda: certificate_of(model, images), plain, repeats=REPEATS)
    logits = model(images)
    with plain_convolutions(), Operations() as counted:
        agreement = (model(images) - logits).abs().amax().item()
    rate = product_rate(torch.float64)
    least = counted.total / rate
    rows = [
        [name, f"{time:.2f}", f"{IMAGES / time:.0f}", f"{theirs / time:.2f}"]
        for name, time in (("this package", ours), ("PyTorch's convolutions", theirs), ("roofline", least))
    ]
    head = ["convolutions", "seconds", "images a second", "times PyTorch's"]
    return {"certificates": table(head, rows), "agreement": agreement, "f64": rate / 1e9}


def audited(name: str) -> tuple[float, float]:
    """Return the seconds and the memory in GB of an audit."""
    model = sll_zoo.create_model(name).eval()
    return seconds(lambda: sll_zoo.audit(model)), resident_peak() / 1e3


def audits() -> dict[str, Any]:
    """Return the table of audits."""
    rows = []
    for name in AUDITED:
        with get_context("spawn").Pool(1) as pool:
            time, memory = pool.apply(audited, [name])
        parameters = sum(parameter.numel() for parameter in sll_zoo.create_model(name).parameters())
        rows.append([f"`{name}`", f"{parameters / 1e6:.0f} M", f"{time:.0f}", f"{memory:.1f} GB"])
    return {"audits": table(["network", "parameters", "seconds", "memory"], rows)}


def command(*arguments: str) -> float:
    """Return the time of a command of ``sll-zoo``."""
    script = str(Path(sys.executable).with_name("sll-zoo"))
    return seconds(lambda: subprocess.run([script, *arguments], check=True, stdout=subprocess.DEVNULL))  # noqa: S603 - fixed above


def publishing(data: Path, each: int = 10) -> dict[str, Any]:
    """Publish untrained weights, measured on a few images of each class, to a Hub of the tests."""
    sys.path.append(str(HERE.parent))
    from tests.hub.server import OWNER, Hub  # a Hub on this machine

    with TemporaryDirectory() as temporary:
        work = Path(temporary)
        classes = sorted(path.name for path in (data / "test").iterdir() if path.is_dir())
        for name in classes:
            (work / "images" / name).mkdir(parents=True)
            for image in sorted((data / "test" / name).iterdir())[:each]:
                (work / "images" / name / image.name).write_bytes(image.read_bytes())
        torch.manual_seed(0)
        save_pretrained(sll_zoo.create_model(PUBLISHED).eval(), work / PUBLISHED, label_names=classes)
        with Hub(work / "hub", 0) as hub:
            os.environ |= {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": hub.token, "HF_HOME": str(work / "client")}
            time = command("publish", str(work / PUBLISHED), f"{OWNER}/{PUBLISHED}", "--data", str(work / "images"))
        size = (work / PUBLISHED / "model.safetensors").stat().st_size / 1e6
    return {"publish": time, "megabytes": size, "published": PUBLISHED, "few": each * len(classes)}


def shares(step: Callable[[], None]) -> dict[str, float]:
    """Return the share of the time that each kind of operation takes."""
    with profile() as found:
        step()
    times = {event.key: event.self_cpu_time_total for event in found.key_averages()}
    total = sum(times.values())
    return {
        kind: sum(time for key, time in times.items() if any(part in key for part in parts)) / total
        for kind, parts in SHARES.items()
    }


def training() -> dict[str, Any]:
    """Return what a training step takes, and what its operations would take in one large product."""
    torch.manual_seed(0)
    tiny = MODEL.partition(".")[0]
    images, rate = torch.rand(BATCH, 3, 32, 32), product_rate(torch.bfloat16)
    step = stepping(sll_zoo.create_model(tiny), images, bfloat16=True)
    (time,) = in_turn(step, repeats=REPEATS)
    # Counted in float64, since oneDNN's products are not counted, with layers one by one, as in bfloat16.
    model = sll_zoo.create_model(tiny).double()
    model.convs = nn.Sequential(*model.convs)
    counted_step = stepping(model, images.double())
    with plain_convolutions(), Operations() as counted:
        counted_step()
    least = counted.total / rate
    parts = ", ".join(f"{percent(share)} are {kind}" for kind, share in shares(step).items() if share)
    return {
        "tiny": tiny,
        "tiny_seconds": time,
        "tiny_rate": BATCH / time,
        "tiny_least": least,
        "tiny_share": percent(least / time),
        "tiny_parts": parts,
        "bf16": rate / 1e9,
    }


def accumulating() -> dict[str, Any]:
    """Return what a step of accumulated batches takes, with T computed for each batch and once."""
    torch.manual_seed(0)
    model = sll_zoo.create_model(LARGE).train()
    batches = [(torch.rand(PART, 3, 32, 32), torch.randint(10, (PART,))) for _ in range(PARTS)]
    optimizer = torch.optim.NAdam(model.parameters(), lr=1e-4)

    def step(once: bool) -> None:
        optimizer.zero_grad()
        for place, (images, target) in enumerate(batches):
            if once:
                begin_batch(model, last=place + 1 == PARTS)
            with torch.autocast("cpu", torch.bfloat16):
                loss = cross_entropy(model(images), target) / PARTS
            loss.backward()
        optimizer.step()
        end_batches(model)

    each, once = in_turn(lambda: step(False), lambda: step(True), repeats=REPEATS_LARGE)
    return {"large_each": each, "large_once": once, "large_ratio": each / once}


def families() -> dict[str, Any]:
    """Return the table of families beside plain convolutions."""
    images, steps = torch.rand(PART, 3, 32, 32), []
    for family in FAMILIES:
        torch.manual_seed(0)
        model = sll_zoo.create_model(MODEL.partition(".")[0], family=family, dense_layers=0)
        steps.append(stepping(model, images))
        if family == FAMILIES[0]:
            steps.append(stepping(Network(model, PlainLayer), images))
    times = in_turn(*steps, repeats=REPEATS)
    names = [f"`{FAMILIES[0]}`", "plain", *(f"`{family}`" for family in FAMILIES[1:])]
    rows = [
        [name, f"{time:.2f}", f"{time / times[1]:.1f}", *(percent(share) for share in shares(step).values())]
        for name, time, step in zip(names, times, steps, strict=True)
    ]
    return {"families": table(["family", "seconds", "of plain", *SHARES], rows)}


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of CIFAR-10")
    data = parser.parse_args().data
    keep_freed_memory()
    found: dict[str, Any] = {}
    for measure in (certificates, training, accumulating, families, audits):
        found |= measure()
    found["evaluation"] = median(command("certify", MODEL, str(data)) for _ in range(3))
    with TemporaryDirectory() as temporary:
        options = ("--limit", "100", "--restarts", "2", "--out", f"{temporary}/refuted.npz")
        found["attack"] = command("attack", MODEL, str(data), *options)
    found |= publishing(data)
    constants = {"model": MODEL, "images": IMAGES, "repeats": REPEATS, "batch": BATCH, "part": PART, "parts": PARTS}
    constants |= {"large": LARGE, "repeats_large": REPEATS_LARGE, "environment": environment(), "version": sll_zoo.__version__}
    write_page("waiting.md", PAGE.format(**found | constants))


if __name__ == "__main__":
    main()
