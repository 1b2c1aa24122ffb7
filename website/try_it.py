"""The page "Try it", with the shipped networks: `python -m website.try_it` writes it into the site that MkDocs has built."""

import sys
from pathlib import Path

from sll_zoo.deployment.browser import write_network, write_page
from sll_zoo.zoo import create_model
from sll_zoo.zoo.folder import CHECKPOINTS

APP = Path(__file__).parents[1] / "site/try/app"


def write(app: Path) -> None:
    """Write the page, the runtime, and every shipped network that takes images: small ones first, which load in no time."""
    names = [folder.name for folder in CHECKPOINTS.iterdir() if folder.is_dir()]
    models = {name: create_model(name, pretrained=True).eval() for name in names}
    taking_images = {name: model for name, model in models.items() if min(model.config.input_shape[1:]) > 1}
    ordered = sorted(taking_images, key=lambda name: sum(weight.numel() for weight in models[name].parameters()))
    write_page(app, ordered)
    for name in ordered:
        write_network(app / "networks" / name, models[name], name, CHECKPOINTS / name)
        sys.stdout.write(f"{app / 'networks' / name}\n")


if __name__ == "__main__":
    write(APP)
