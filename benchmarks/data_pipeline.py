"""How many images a second do the training batches come at, and what share of a training step do they take?

Run: .venv/bin/python benchmarks/data_pipeline.py (writes data_pipeline.md, in about three minutes; with kornia, if it is
installed, and with the images of CIFAR-10, if they are in data/)
or, on a GPU: .venv/bin/python benchmarks/data_pipeline.py --device cuda (writes data_pipeline_cuda.md)
"""

import argparse
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from os import cpu_count
from statistics import median

import torch
from PIL import Image
from record import environment, write_page
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import sll_zoo
from sll_zoo.data import CIFAR10, ImageData, Synthetic, training_loader
from sll_zoo.data.augmentation import PADDING, augment, crop_and_flip, draw, jitter
from sll_zoo.data.images import Pixels
from sll_zoo.errors import InputError
from sll_zoo.losses import OffsetCrossEntropy
from sll_zoo.training.products import change_products

SIZE, BATCH, ROUNDS = 32, 256, 9
# The network whose training step is the measure, its batch size, and the number of steps.
MODEL, MODEL_BATCH, STEPS = "sll_tiny.cifar10", 128, 30
# Number of images in a round, and how often the fast pipelines go through them.
IMAGES, REPEATS = 2048, {"cpu": 2, "cuda": 50}
COLOURS = {"brightness": 0.1, "contrast": (0.5, 2.0), "saturation": (0.3, 2.0), "hue": 0.02}
PAGE = """# How many images a second does the data pipeline give?
Images of {size} x {size} pixels that are held in memory, in batches of {batch}, shuffled and augmented as in the paper, and
nothing else; one process, no workers. "One by one" is torchvision's `RandomCrop` (padded by reflection),
`RandomHorizontalFlip`, `ColorJitter` and `ToTensor` of each Pillow image, on the CPU. Medians of {rounds} rounds in turn, of
{images} images each one by one and {many} in batches; "times" is the median of the rounds' own ratios.

{table}

Where the time of a batch goes, in microseconds an image (medians of as many rounds):

{parts}

kornia puts the four colour steps in the same order for all images of a batch, and turns hues through HSV and back; its crop goes
through the images one by one.

{environment}{kornia}, sll_zoo {version}. `benchmarks/data_pipeline.py` makes this page.
"""
SHARES = """
## Share of a training step
`{model}` in batches of {batch} and in bfloat16; a step is forward, loss, backward and optimizer. The
images are the {images} training images of {data}, held in memory as 8-bit values. Medians of {steps} rounds,
each of one batch from the loader, a batch augmented in both ways, and a step; "%" is the median of the rounds' own ratios.

{table}

{environment}.
"""


class OneByOne(Dataset[tuple[Tensor, int]]):
    """A data set that applies torchvision's transforms to one Pillow image at a time, as torchvision's data sets do."""

    def __init__(self, pixels: Pixels) -> None:
        self.arrays = pixels.images.permute(0, 2, 3, 1).numpy()
        self.labels = pixels.labels.tolist()
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(SIZE, PADDING, padding_mode="reflect"),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(**COLOURS),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return an image and its label."""
        return self.transform(Image.fromarray(self.arrays[index])), self.labels[index]


def kornia_steps() -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the same augmentation by kornia, or an empty dictionary where it is not installed."""
    if not find_spec("kornia"):
        return {}
    from kornia.augmentation import ColorJitter, RandomCrop, RandomHorizontalFlip

    crop = RandomCrop((SIZE, SIZE), padding=PADDING, padding_mode="reflect")
    return {"crop": crop, "flip": RandomHorizontalFlip(), "colours": ColorJitter(**COLOURS, p=1.0)}


def own_steps() -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the parts of ``augment``."""

    def crop(images: Tensor) -> Tensor:
        offsets, flipped, _, _ = draw(len(images))
        return crop_and_flip(images, offsets, flipped)

    def colours(images: Tensor) -> Tensor:
        _, _, factors, order = draw(len(images))
        return jitter(images, factors, order)

    return {"crop and flip": crop, "colours": colours}


def one_after_another(steps: Iterable[Callable[[Tensor], Tensor]]) -> Callable[[Tensor], Tensor]:
    """Return the function that applies all of the steps."""
    steps = list(steps)

    def apply(images: Tensor) -> Tensor:
        for step in steps:
            images = step(images)
        return images

    return apply


def seconds(work: Callable[[], object], device: str) -> float:
    """Return the time of one call."""
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def passes(loader: Iterable[tuple[Tensor, Tensor]], apply: Callable[[Tensor], Tensor], times: int) -> Callable[[], None]:
    """Return a function that goes through a loader ``times`` times."""

    def work() -> None:
        for _ in range(times):
            for images, _ in loader:
                apply(images)

    return work


def in_turn(works: dict[str, Callable[[], object]], device: str, number: int = ROUNDS) -> list[dict[str, float]]:
    """Return the seconds of each piece of work, in rounds; a first one warms up."""
    rounds = [{name: seconds(work, device) for name, work in works.items()} for _ in range(number + 1)]
    return rounds[1:]


def pipelines(pixels: Pixels, device: str) -> list[str]:
    """Return a table of the pipelines."""
    many, kornia = REPEATS[device], kornia_steps()
    one_by_one = DataLoader(OneByOne(pixels), batch_size=BATCH, shuffle=True, drop_last=True)
    pixels.move(torch.device(device))
    loader = training_loader(pixels, BATCH)
    works = {"one by one": passes(one_by_one, lambda images: images, 1), "batches": passes(loader, augment, many)}
    if kornia:
        works["batches, by kornia"] = passes(loader, one_after_another(kornia.values()), many)
    rounds = in_turn(works, device)
    lines = ["| pipeline | images/s | times |", "|" + " --- |" * 3]
    for name in works:
        images = IMAGES * (1 if name == "one by one" else many)
        times = median(images * round_["one by one"] / (IMAGES * round_[name]) for round_ in rounds)
        lines.append(f"| {name} | {images / median(round_[name] for round_ in rounds):,.0f} | {times:.1f} |")
    return lines


def parts(pixels: Pixels, device: str) -> list[str]:
    """Return a table of the steps."""
    loader = training_loader(pixels, BATCH)
    images = next(iter(loader))[0]
    works = {"loader": passes(loader, lambda images: images, 1)}
    for whose, steps in (("", own_steps()), (", by kornia", kornia_steps())):
        for name, step in steps.items():
            works[name + whose] = passes([(images, images)] * (IMAGES // BATCH), step, 1)
    rounds = in_turn(works, device)
    lines = ["| step | µs |", "|" + " --- |" * 2]
    return lines + [f"| {name} | {1e6 * median(round_[name] for round_ in rounds) / IMAGES:.1f} |" for name in works]


def share_page() -> str:
    """Return the section on the share of a training step, on the CPU."""
    torch.set_num_threads(cpu_count() or 1)  # as a training has them
    data = cifar10()
    return SHARES.format(
        model=MODEL,
        batch=MODEL_BATCH,
        images=f"{len(data.part('train')):,}",
        data=data.name,
        steps=STEPS,
        table="\n".join(shares(data)),
        environment=environment(),
    )


def cifar10() -> ImageData:
    """Return CIFAR-10, or made-up images of the same size where it is missing."""
    data = CIFAR10(batch_size=MODEL_BATCH)
    try:
        data.setup("fit")
    except InputError:
        return Synthetic(images=10_000, shape=(3, SIZE, SIZE), batch_size=MODEL_BATCH)
    return data


def shares(data: ImageData) -> list[str]:
    """Return a table of the time of a batch, of its augmentation and of a training step."""
    batches = iter(data.train_dataloader())
    images, labels = next(batches)
    works = {
        "batch from the loader": partial(next, batches),
        "crop and flip": partial(augment, images, "crop_flip"),
        "crop, flip and colours": partial(augment, images, "paper"),
        "training step": partial(training_step(), images, labels),
    }
    rounds = in_turn(works, "cpu", STEPS)
    lines = ["| work | ms | % |", "|" + " --- |" * 3]
    for name in works:
        share = median(round_[name] / round_["training step"] for round_ in rounds)
        lines.append(f"| {name} | {1e3 * median(round_[name] for round_ in rounds):.2f} | {100 * share:.2f} |")
    return lines


def training_step() -> Callable[[Tensor, Tensor], None]:
    """Return a function that trains the network once, on a batch."""
    network, loss = sll_zoo.create_model(MODEL).train(), OffsetCrossEntropy(offset=1.0)
    change_products(network, compute_dtype=torch.bfloat16)
    optimizer = torch.optim.NAdam(network.parameters(), lr=0.02)

    @torch.enable_grad()
    def step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images)
        loss(logits.float(), labels).backward()
        optimizer.step()

    return step


@torch.no_grad()
def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=REPEATS, default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="of torch (%(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    pixels = Synthetic(images=IMAGES * 100 // 81 + 9, shape=(3, SIZE, SIZE)).part("train").select(range(IMAGES))
    table = pipelines(pixels, options.device)
    device = f"{torch.cuda.get_device_name()}, " if options.device == "cuda" else ""
    text = PAGE.format(
        size=SIZE,
        batch=BATCH,
        rounds=ROUNDS,
        images=f"{IMAGES:,}",
        many=f"{IMAGES * REPEATS[options.device]:,}",
        table="\n".join(table),
        parts="\n".join(parts(pixels, options.device)),
        environment=device + environment(),
        kornia=f", kornia {version('kornia')}" if find_spec("kornia") else ", kornia not installed",
        version=sll_zoo.__version__,
    )
    if options.device == "cpu":
        write_page("data_pipeline.md", text + share_page())
    else:
        write_page(f"data_pipeline_{options.device}.md", text)


if __name__ == "__main__":
    main()
