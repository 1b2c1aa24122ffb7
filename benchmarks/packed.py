"""Pack the images of CIFAR-10 and CIFAR-100 without loss into a half of their size, and read them again in seconds.

    python benchmarks/packed.py data/cifar10 OUT    # also data/cifar100

`from_packed` is what a machine to which files are sent needs; the fingerprints of `sll_zoo.data` prove that nothing was lost.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from sll_zoo.data import CIFAR10, CIFAR100
from sll_zoo.data.images import Pixels

# Images along an edge of a mosaic.
EDGE = 32


def mosaic(images: np.ndarray) -> np.ndarray:
    """Return up to EDGE² images (n, 3, 32, 32) as one (EDGE · 32, EDGE · 32, 3)."""
    full = np.zeros((EDGE * EDGE, *images.shape[1:]), images.dtype)
    full[: len(images)] = images
    size = EDGE * images.shape[2]
    return full.reshape(EDGE, EDGE, *images.shape[1:]).transpose(0, 3, 1, 4, 2).reshape(size, size, 3)


def tiles(picture: np.ndarray) -> np.ndarray:
    """Return the images of a mosaic."""
    size = picture.shape[0] // EDGE
    return picture.reshape(EDGE, size, EDGE, size, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, size, size)


def write(path: Path, images: np.ndarray) -> None:
    """Write a mosaic."""
    if not path.exists():
        Image.fromarray(mosaic(images)).save(path, "WEBP", lossless=True, quality=100, method=6, exact=True)


def pack(root: Path, out: Path) -> None:
    """Pack all images of a data set, by class and then by file name."""
    data = (CIFAR100 if root.name == "cifar100" else CIFAR10)(str(root))
    folder = data._folder()
    data.class_names = data._class_folders([folder / part for part in data.counts])
    (out / data.name).mkdir(parents=True, exist_ok=True)
    (out / data.name / "classes.txt").write_text("\n".join(data.class_names), "utf-8")
    with ProcessPoolExecutor(2) as pool:
        for part in data.counts:
            images = data._from_folders(folder, part).images.numpy()
            parts = np.split(images, range(EDGE**2, len(images), EDGE**2))
            list(pool.map(write, [out / data.name / f"{part}.{place:02}.webp" for place in range(len(parts))], parts))


def from_packed(root: Path) -> None:
    """Let CIFAR10 and CIFAR100 read packed images in ROOT/NAME instead of class folders."""

    def read(data: CIFAR10, _: Path, part: str) -> Pixels:
        files = sorted((root / data.name).glob(f"{part}.*.webp"))
        with ThreadPoolExecutor(16) as pool:
            images = np.concatenate(list(pool.map(lambda path: tiles(np.asarray(Image.open(path).convert("RGB"))), files)))
        count = data.counts[part]
        labels = torch.arange(data.classes).repeat_interleave(count)
        return Pixels(torch.from_numpy(images[: len(labels)].copy()), labels)

    def names(data: CIFAR10, _: object) -> tuple[str, ...]:
        return tuple((root / data.name / "classes.txt").read_text("utf-8").split("\n"))

    CIFAR10._folder = lambda _: root  # type: ignore[method-assign]
    CIFAR10._class_folders = names  # type: ignore[method-assign]
    CIFAR10._from_folders = read  # type: ignore[method-assign]


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
