"""The arguments of the zoo's own commands; what runs them is imported when they run."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from sll_zoo.choices import BITS, DATA_SETS, DTYPES, METHODS, TRAINING

RADII = (
    "The file gives logits, and for each image the certified L2 radius in pixels of [0, 1]. The certificate is one of exact "
    "arithmetic: in float64 the radii are those that `sll-zoo certify` measures; in float32 logits are rounded by about 1e-6 of "
    "their size, which the radii do not account for."
)


class _Parser(argparse.ArgumentParser):
    """Argparse with errors of one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def command_line() -> argparse.ArgumentParser:
    """Return the parser of all commands; ``run`` in what it parses names a function of ``sll_zoo.commands``."""
    parser = _Parser(prog="sll-zoo", description="Image classifiers whose robustness is proved.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_zoo(commands)
    _add_measuring(commands)
    _add_deployment(commands)
    for name, text in TRAINING.items():
        commands.add_parser(name, help=text)
    return parser


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser("demo", help="certify, draw and fine-tune the shipped digits classifier, in half a minute")
    demo.add_argument(
        "--picture", type=Path, default=Path("outputs/sll_nano.digits.png"), help="where the picture goes (%(default)s)"
    )
    demo.set_defaults(run="measure:run_demo")


def _add_zoo(commands: Any) -> None:
    listing = commands.add_parser("list", help="list the models")
    listing.add_argument("--pretrained", action="store_true", help="only those with weights, and what they reach")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run="zoo:run_list")

    pulling = commands.add_parser("pull", help="fetch a model's weights before they are needed")
    pulling.add_argument("model", metavar="MODEL", help="a name of `sll-zoo list --pretrained`, or hf-hub:org/name[@revision]")
    pulling.add_argument("--to", type=Path, metavar="DIR", help="copy them there, for a machine without a network")
    pulling.set_defaults(run="zoo:run_pull")

    publishing = commands.add_parser("publish", help="check weights and put them on the Hugging Face Hub")
    publishing.add_argument("source", metavar="SOURCE", help="a folder such as checkpoints/NAME, a model's name, or a .ckpt")
    publishing.add_argument("repo_id", metavar="REPO_ID", help="org/name; made if there is none")
    publishing.add_argument("--private", action="store_true", help="visible to its owners only")
    publishing.add_argument("--revision", default="main", help="the branch; made if there is none (%(default)s)")
    publishing.add_argument("--tag", help="put on the commit, such as v1.0; never moved")
    _add_data(publishing)
    publishing.add_argument("--dry-run", action="store_true", help="check everything, show files and card, send nothing")
    publishing.set_defaults(run="zoo:run_publish")

    shipping = commands.add_parser("ship", help="check saved weights and put them into checkpoints/, with record and tables")
    shipping.add_argument("folder", type=Path, metavar="FOLDER", help="that `sll-zoo fit` or `quantize` wrote")
    shipping.set_defaults(run="zoo:run_ship")

    converting = commands.add_parser("convert", help="turn a checkpoint of the paper's authors into a folder to publish")
    converting.add_argument("official", type=Path, metavar="OFFICIAL.pth", help="a checkpoint of the authors' repository")
    converting.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the folder goes")
    _add_data(converting)
    converting.set_defaults(run="zoo:run_convert")

    quantizing = commands.add_parser("quantize", help="write a model with fewer bits a weight, and measure what that costs")
    quantizing.add_argument("model", metavar="MODEL", help="as for certify")
    quantizing.add_argument("--bits", type=int, choices=BITS, default=8, help="of a weight; 16 is bfloat16 (%(default)s)")
    quantizing.add_argument("--data", required=True, metavar="DATA", help="held-out images to measure on, as for certify")
    _add_device(quantizing)
    quantizing.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the folder goes")
    quantizing.set_defaults(run="zoo:run_quantize")


def _add_measuring(commands: Any) -> None:
    certify = commands.add_parser("certify", help="measure clean and certified accuracy of a model")
    certify.add_argument(
        "model",
        metavar="MODEL",
        help="a name of `sll-zoo list --pretrained`, hf-hub:org/name[@revision], local-dir:path, or ckpt:path of a training",
    )
    certify.add_argument(
        "data",
        metavar="DATA",
        help=f"held-out images of {', '.join(DATA_SETS)}; or a folder with a folder of images for each class",
    )
    certify.add_argument("--sound", action="store_true", help="subtract from each radius what rounding may have added to it")
    certify.add_argument("--limit", type=_positive, metavar="N", help="measure N images only, evenly spaced, always the same")
    _add_device(certify)
    certify.add_argument(
        "--out", type=Path, metavar="DIR", help="write a report there: report.html, report.json, samples.csv, curve.png"
    )
    certify.set_defaults(run="measure:run_certify")

    classify = commands.add_parser("classify", help="class, runner-up and certified radius of images in files")
    classify.add_argument("model", metavar="MODEL", help="as for certify")
    classify.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="of any size: cropped and resized as the model needs, and said so"
    )
    classify.add_argument("--json", action="store_true", help="print JSON")
    classify.add_argument("--out", type=Path, metavar="DIR", help="write classified.html and classified.json there")
    classify.set_defaults(run="measure:run_classify")

    auditing = commands.add_parser("audit", help="check every layer of a model; status 1 if one breaks its claim")
    auditing.add_argument("model", metavar="MODEL", help="as for certify")
    auditing.add_argument("--json", action="store_true", help="print JSON")
    auditing.set_defaults(run="measure:run_audit")

    attacking = commands.add_parser("attack", help="search for images that refute a certificate; status 1 if there are any")
    attacking.add_argument("model", metavar="MODEL", help="as for certify")
    attacking.add_argument("data", metavar="DATA", help="as for certify")
    attacking.add_argument("--method", choices=METHODS, default=METHODS[0], help="autoattack needs sll-zoo[attack] (%(default)s)")
    attacking.add_argument("--eps", type=radius, nargs="+", help="L2 radii such as 0.5 or 36/255 (the paper's four)")
    attacking.add_argument("--limit", type=_positive, metavar="N", help="as for certify")
    _add_device(attacking)
    attacking.add_argument("--steps", type=int, default=100, help="of a run of PGD (%(default)s)")
    attacking.add_argument("--restarts", type=int, default=5, help="runs of PGD (%(default)s)")
    attacking.add_argument(
        "--out", type=Path, default=Path("outputs/refuted.npz"), help="where images that refute a certificate go (%(default)s)"
    )
    attacking.add_argument(
        "--record", action="store_true", help="write the accuracies into config.json and README.md of the model's folder"
    )
    attacking.set_defaults(run="measure:run_attack")


def _add_deployment(commands: Any) -> None:
    exporting = commands.add_parser(
        "export", help="write a model as one .onnx or .pt2 file, with its certified radii", description=RADII
    )
    exporting.add_argument("model", metavar="MODEL", help="as for certify")
    exporting.add_argument(
        "out",
        type=Path,
        metavar="OUT",
        help="model.onnx, which needs sll-zoo[onnx], or model.pt2 of torch.export; replaced whole",
    )
    exporting.add_argument("--dtype", choices=DTYPES, default=DTYPES[0], help="of images, logits and radii (%(default)s)")
    exporting.set_defaults(run="deploy:run_export")


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", metavar="DATA", help="held-out images to measure on, as for certify, if nothing is recorded")


def _add_device(command: argparse.ArgumentParser) -> None:
    """Add the option that says on what networks are evaluated."""
    command.add_argument("--device", type=_device, choices=("cpu", "cuda"), default="cpu", help="where to compute (%(default)s)")


def _device(text: str) -> str:
    if text == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise argparse.ArgumentTypeError("cuda: torch finds no GPU here; leave --device out")
    return text


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"{text}: give an integer of at least 1")
    return int(text)


def radius(text: str) -> float:
    """Return a radius as it is written on a command line, a number or a fraction.

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
