"""Time until a model is ready: the import, the command line, and loading the weights of a large model.

Run: .venv/bin/python benchmarks/starting.py (writes starting.md, in about a minute; needs 1 GB of disk and 3 GB of memory).
"""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import safetensors.torch
import torch
from record import environment, write_page
from timing import in_turn

import sll_zoo
from sll_zoo.zoo.publishing.save import save_pretrained

PAGE = """# How long until a model is there?
Seconds, medians of {n} in turn.

| | seconds | ratio |
| --- | --- | --- |
| `import timm` | {alone:.2f} | 1 |
| `import sll_zoo`, which registers its models when timm is imported | {ours:.2f} | {import_ratio:.2f} |
| `import sll_zoo, timm` | {both:.2f} | {both_ratio:.2f} |
| `sll-zoo --help` | {help:.2f} | |
| read the {size:.0f} MB of `{model}` and build it on the meta device | {least:.2f} | 1 |
| `create_model` of the same file, checked | {load:.2f} | {load_ratio:.2f} |

{environment}. `benchmarks/starting.py` makes this page.
"""
MODEL, N = "sll_large", 5


def importing(packages: str) -> None:
    """Import packages in a new process."""
    subprocess.run([sys.executable, "-c", f"import {packages}"], check=True)  # noqa: S603 - packages are named above


def main() -> None:
    """Measure and write the page."""
    script = [str(Path(sys.executable).with_name("sll-zoo")), "--help"]
    alone, ours, both, help_ = in_turn(
        lambda: importing("timm"),
        lambda: importing("sll_zoo"),
        lambda: importing("sll_zoo, timm"),
        lambda: subprocess.run(script, check=True, stdout=subprocess.DEVNULL),  # noqa: S603 - the command of this package
        repeats=N,
    )
    with TemporaryDirectory() as folder:
        save_pretrained(sll_zoo.create_model(MODEL), Path(folder), label_names="0123456789")
        file = Path(folder, "model.safetensors")

        def least() -> None:
            """Read the file, and build the model without memory."""
            with torch.device("meta"):
                model = sll_zoo.create_model(MODEL)
            model.load_state_dict(safetensors.torch.load(file.read_bytes()), assign=True)

        size = file.stat().st_size / 1e6
        read, load = in_turn(least, lambda: sll_zoo.create_model(f"local-dir:{folder}", pretrained=True), repeats=N)
    ratios = {"import_ratio": ours / alone, "both_ratio": both / alone, "load_ratio": load / read}
    write_page("starting.md", PAGE.format(
        n=N, alone=alone, ours=ours, both=both, help=help_, least=read, load=load, size=size, model=MODEL,
        environment=environment(), **ratios
    ))  # fmt: skip


if __name__ == "__main__":
    main()
