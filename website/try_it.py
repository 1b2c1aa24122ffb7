"""The page "Try it", with the shipped networks: `python -m website.try_it` writes it into the site that MkDocs has built."""

import sys
from pathlib import Path

from sll_zoo.deployment.browser import write_network, write_page
from sll_zoo.zoo import create_model
from sll_zoo.zoo.folder import CHECKPOINTS

APP = Path(__file__).parents[1] / "site/try/app"


def names() -> list[str]:
    """Return the shipped networks that take images, not sequences of single numbers: small ones first, which load in no time."""
    folders = [path.parent for path in CHECKPOINTS.glob("*/model.safetensors") if "by_pixel" not in path.parent.name]
    return [folder.name for folder in sorted(folders, key=lambda folder: (folder / "model.safetensors").stat().st_size)]


def write(app: Path) -> None:
    """Write the page, the runtime and every network."""
    write_page(app, names())
    for name in names():
        sys.stdout.write(f"{name}\n")
        write_network(app / "networks" / name, create_model(name, pretrained=True).eval(), name, CHECKPOINTS / name)


if __name__ == "__main__":
    write(APP)
