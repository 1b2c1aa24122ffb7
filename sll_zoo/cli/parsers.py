"""The arguments of the zoo's own commands; a command's code, and torch, are imported when it runs, so that ``--help`` is fast.

By argparse: with jsonargparse, which parses the commands of training, flags want a value (``--sound true``), ``classify MODEL
*.png`` and ``--eps 0.5 36/255`` fail, and no line is saved.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

# Commands whose arguments LightningCLI parses.
TRAINING = {
    "fit": "train a network from a YAML configuration (LightningCLI)",
    "validate": "measure a checkpoint on the validation images",
    "test": "measure clean and certified accuracy of a checkpoint on the held-out images",
    "predict": "certify the held-out images with a checkpoint and write each one's class and radius",
}
RADII = (
    "The file gives logits, and for each image the certified radius in pixels of [0, 1], in the norm that its metadata name. "
    "The certificate is one of exact arithmetic: in float64 the radii are those that `sll-zoo certify` measures; in float32 "
    "logits are rounded by about 1e-6 of their size, which the radii do not account for."
)


def radius(text: str) -> float:
    """Return the radius that is written on a command line, as a number or a fraction.

    Raises:
        ValueError: Neither of the two.

    Example:
        >>> radius("36/255") == 36 / 255, radius("0.5")
        (True, 0.5)
    """
    try:
        return float(Fraction(text))
    except (ZeroDivisionError, OverflowError) as error:
        raise ValueError(text) from error


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text}: give an integer of at least 1")
    return int(text)


def _size(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    return name, _positive(value)


def _device(text: str) -> str:
    if text == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise argparse.ArgumentTypeError("cuda: torch finds no GPU here; leave --device out")
    return text


def _shared(*names: str, **options: Any) -> argparse.ArgumentParser:
    """Return a parser of one argument that several commands share, for argparse's ``parents``."""
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(*names, **options)
    return parent


MODEL = _shared(
    "model",
    metavar="MODEL",
    help="a name of `sll-zoo list --pretrained`, hf-hub:org/name[@revision], local-dir:path, or ckpt:path of a training",
)
# Names of data sets and of other choices are repeated here, since their modules import torch; a test compares them.
NAMES = "digits, digits_by_pixel, cifar10, cifar100, tiny_imagenet, gtsrb"
IMAGES = f"held-out images of {NAMES}; or a folder with a folder of images for each class"
DATA = _shared("data", nargs="?", metavar="DATA", help=f"{IMAGES}; by default the images that the model's record was measured on")
UNRECORDED = _shared("--data", metavar="DATA", help=f"to measure on, if nothing is recorded: {IMAGES}")
FILES = _shared("images", nargs="+", type=Path, metavar="IMAGE", help="of any size; resized as needed, and said so")
LIMIT = _shared("--limit", type=_positive, metavar="N", help="take N images only, evenly spaced, always the same")
DEVICE = _shared("--device", type=_device, choices=("cpu", "cuda"), default="cpu", help="where to compute (%(default)s)")
JSON = _shared("--json", dest="as_json", action="store_true", help="print JSON")
MEASURING = (MODEL, DATA, LIMIT, DEVICE)
OUT = _shared("--out", type=Path, required=True, metavar="DIR", help="where the folder goes")


class _Parser(argparse.ArgumentParser):
    """Argparse with errors of one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def command_line(typed: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of all commands; ``run`` in its result names a function of ``sll_zoo.cli``, the rest are its arguments.

    Args:
        typed: The words after the program's name, for a report that says how it was made.
    """
    parser = _Parser(prog="sll-zoo", description="Image classifiers whose robustness is proved.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_measuring(commands, shlex.join(["sll-zoo", *typed]))
    _add_deployment(commands)
    _add_zoo(commands)
    for name, text in TRAINING.items():
        commands.add_parser(name, help=text)
    return parser


def _add(commands: Any, run: str, text: str, *shared: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Return the parser of a new command, which is named after the function that runs it."""
    command: argparse.ArgumentParser = commands.add_parser(run.partition(":run_")[2], help=text, description=text, parents=shared)
    command.set_defaults(run=run)
    return command


def _add_measuring(commands: Any, typed: str) -> None:
    command = _add(commands, "demo:run_demo", "certify, draw and fine-tune the shipped digits classifier, in half a minute")
    command.add_argument("--picture", type=Path, default="outputs/sll_nano.digits.png", help="where it is drawn (%(default)s)")

    command = _add(commands, "measure:run_certify", "measure clean and certified accuracy of a model", *MEASURING)
    command.set_defaults(command=typed)
    command.add_argument("--sound", action="store_true", help="subtract from each radius what rounding may have added to it")
    command.add_argument("--out", type=Path, metavar="DIR", help="write report.html, report.json, samples.csv, curve.png there")

    command = _add(
        commands, "measure:run_classify", "class, runner-up and certified radius of images in files", MODEL, FILES, JSON
    )
    command.add_argument("--out", type=Path, metavar="DIR", help="write classified.html and classified.json there")

    text = "saliency, counterfactual and distance to the boundary of images in files, as explained.html and explained.json"
    _add(commands, "measure:run_explain", text, MODEL, FILES, OUT)

    _add(commands, "measure:run_audit", "check every layer of a model; status 1 if one breaks its claim", MODEL, JSON)

    text = "search for images that refute a certificate; status 1 if there are any"
    command = _add(commands, "measure:run_attack", text, *MEASURING)
    command.add_argument(
        "--method", choices=("pgd", "autoattack"), default="pgd", help="autoattack needs sll-zoo[attack] (%(default)s)"
    )
    command.add_argument(
        "--eps", type=radius, nargs="+", help="radii in the model's norm, such as 0.5 or 36/255 (those of the literature)"
    )
    command.add_argument("--steps", type=int, default=100, help="of a run of PGD (%(default)s)")
    command.add_argument("--restarts", type=int, default=5, help="runs of PGD (%(default)s)")
    command.add_argument("--out", type=Path, default="outputs/refuted.npz", help="where images that refute go (%(default)s)")
    command.add_argument("--record", action="store_true", help="write accuracies into the model's config.json and README.md")


def _add_deployment(commands: Any) -> None:
    command = _add(commands, "deploy:run_export", "write a model as one .onnx or .pt2 file, with its certified radii", MODEL)
    command.epilog = RADII
    command.add_argument(
        "out",
        type=Path,
        metavar="OUT",
        help="model.onnx, which needs sll-zoo[onnx], or model.pt2 of torch.export; replaced whole",
    )
    command.add_argument(
        "--dtype", choices=("float32", "float64"), default="float32", help="of images, logits and radii (%(default)s)"
    )
    command.add_argument("--sound", action="store_true", help="radii that account for rounding; with --dtype float64")

    command = _add(commands, "deploy:run_serve", "serve a page on this machine on which a browser runs a model", MODEL)
    command.epilog = (
        "MODEL may be a .onnx file of `sll-zoo export`, too; the page then shows class and radius alone, without a search. "
        "The browser computes, by onnxruntime-web, which npm downloads the first time; it is kept in the user's cache."
    )
    command.add_argument("--port", type=int, default=8000, help="0 for any that is free (%(default)s)")


def _add_zoo(commands: Any) -> None:
    command = _add(commands, "zoo:run_list", "list the models", JSON)
    command.add_argument("--pretrained", action="store_true", help="only those with weights, and what they reach")

    command = _add(commands, "zoo:run_pull", "fetch a model's weights before they are needed")
    command.add_argument("model", metavar="MODEL", help="a name of `sll-zoo list --pretrained`, or hf-hub:org/name[@revision]")
    command.add_argument("--to", type=Path, metavar="DIR", help="copy them there, for a machine without a network")

    command = _add(commands, "zoo:run_publish", "check weights and put them on the Hugging Face Hub", UNRECORDED)
    command.add_argument("source", metavar="SOURCE", help="a folder such as checkpoints/NAME, a model's name, or a .ckpt")
    command.add_argument("repo_id", metavar="REPO_ID", help="org/name; made if there is none")
    command.add_argument("--private", action="store_true", help="visible to its owners only")
    command.add_argument("--revision", default="main", help="the branch; made if there is none (%(default)s)")
    command.add_argument("--tag", help="put on the commit, such as v1.0; never moved")
    command.add_argument("--dry-run", action="store_true", help="check everything, show files and card, send nothing")

    command = _add(commands, "zoo:run_ship", "check saved weights and put them into checkpoints/, with record and tables")
    command.add_argument("folder", type=Path, metavar="FOLDER", help="that `sll-zoo fit` or `quantize` wrote")

    command = _add(
        commands, "zoo:run_convert", "turn a checkpoint of the paper's authors into a folder to publish", OUT, UNRECORDED
    )
    command.add_argument("official", type=Path, metavar="OFFICIAL.pth", help="a checkpoint of the authors' repository")

    command = _add(
        commands, "zoo:run_quantize", "write a model with fewer bits a weight, and measure what that costs", MODEL, OUT, DEVICE
    )
    command.add_argument(
        "--bits", type=int, choices=(4, 6, 8, 16, 32), default=8, help="of a weight; 16 is bfloat16 (%(default)s)"
    )
    command.add_argument("--data", required=True, metavar="DATA", help=IMAGES)

    command = _add(
        commands, "zoo:run_grow", "write a larger model that starts as the same function, to be trained on", MODEL, OUT
    )
    command.add_argument("target", metavar="TARGET", help="a name of `sll-zoo list`, of the same structure, such as sll_large")
    command.add_argument(
        "--data",
        metavar="DATA",
        help="for more layers of the same width: they are silent on its training images; a name, or a folder of class folders",
    )
    text = "sizes of the larger model in place of TARGET's, such as width=96 conv_inner=48"
    command.add_argument("--model_args", type=_size, nargs="+", default=[], metavar="NAME=N", help=text)
