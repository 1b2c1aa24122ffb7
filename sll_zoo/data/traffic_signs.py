"""The German Traffic Sign Recognition Benchmark (GTSRB): photographs of traffic signs of 43 kinds, from cars.

Source: Stallkamp et al. 2012, "Man vs. computer: Benchmarking machine learning algorithms for traffic sign recognition", Neural
Networks 32.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import ClassVar

from sll_zoo.class_names import TRAFFIC_SIGNS
from sll_zoo.data.archive import download, require, require_one
from sll_zoo.data.augmentation import Augmentation
from sll_zoo.data.base import ImageData
from sll_zoo.data.folders import Samples, is_litter
from sll_zoo.data.groups import never_divided
from sll_zoo.data.images import Files, Images, split
from sll_zoo.data.reading import ImageReader, fitting
from sll_zoo.data.tables import read_rows
from sll_zoo.errors import ConfigError, InputError

log = logging.getLogger(__name__)
# Where the layouts are looked for in a root: there, and where torchvision unpacks.
PLACES = (".", "gtsrb")
# Folders of the published archives, from one of these places.
TRAINING, ALL_TRAINING, TEST = "GTSRB/Training", "GTSRB/Final_Training/Images", "GTSRB/Final_Test/Images"
TABLE = "GT-final_test.csv"
COLUMNS = ["Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId"]
# Name of a training image: the number of the sign in its class, and the number of the frame.
FRAME = re.compile(r"\d+_\d+\.ppm")
LABELS = {str(label): label for label in range(len(TRAFFIC_SIGNS))}


class TrafficSigns(ImageData):
    """Training images without a tenth of the signs, those signs to validate, and the official test images.

    Of each physical sign there are about 30 images, taken as the car drove by; they are never divided among the parts, and every
    class that has three signs is in every part. Images of 15 × 15 to 250 × 250 pixels are resized to 32 × 32, with the margin
    around the sign that was published; the boxes in the published tables are not used. They are read from one of three layouts,
    in ROOT or ROOT/gtsrb, and held in memory:

    - torchvision's, ``GTSRB/Training/00000/00000_00000.ppm``: 26,640 images, and 12,630 to test in ``GTSRB/Final_Test/Images/``,
      whose classes are in ``GT-final_test.csv``, there or beside ``GTSRB``;
    - the official archives', ``GTSRB/Final_Training/Images/00000/00000_00000.ppm``: 39,209 images, and the same to test;
    - training images alone, ``0/00000_00000.ppm`` to ``42/``: a tenth of the signs is held out to test, a tenth of the rest to
      validate, the same ones each time.

    Images in other numbers than the published ones are another data set, called ``gtsrb-subset-26638`` in log and record, with
    the number of all images. Nothing but the numbers is compared.

    Args:
        root: Folder in which the archives are unpacked, or with the class folders.
        batch_size: Images in a training batch, of all processes together.
        augment: Random changes of training images: ``none``, or ``crop``. The others flip, and a flipped sign is another sign.
        download: Whether to fetch what is missing of torchvision's layout into ROOT/gtsrb (276 MB) if there is no other layout.

    Raises:
        ConfigError: A batch size below 1, or another augmentation.
    """

    name = "gtsrb"
    held_out_arguments = ("root",)
    class_names = TRAFFIC_SIGNS
    shape = (3, 32, 32)
    preparation = fitting(32, 32)
    division = never_divided("sign")
    url = "https://sid.erda.dk/public/archives/daaeac0d7ce1152aea9b61d9f1e19370/"
    # Archives of torchvision's layout: name, md5, and what they hold.
    archives: ClassVar[dict[str, tuple[str, str]]] = {
        "GTSRB-Training_fixed.zip": ("513f3c79a4c5141765e10e952eaa2478", TRAINING),
        "GTSRB_Final_Test_Images.zip": ("c7e4e6327067d32654124b0fe9e82185", TEST),
        "GTSRB_Final_Test_GT.zip": ("fe31e9c9270bbcd7b84b7f21a9d9d9e5", TABLE),
    }
    # Numbers of published images: to train on in each layout, and to test.
    published: ClassVar[dict[str, int]] = {TRAINING: 26_640, ALL_TRAINING: 39_209}
    published_test = 12_630

    def __init__(self, root: str = "data", batch_size: int = 256, augment: Augmentation = "crop", download: bool = False) -> None:
        super().__init__(batch_size, augment)
        if augment not in ("none", "crop"):
            raise ConfigError(f"augment={augment!r}", "give crop or none: a sign in the mirror is another sign")
        self.root = Path(root)
        self.download = download

    def prepare_data(self) -> None:
        """Download what is missing if that is asked for.

        Raises:
            InputError: Files that cannot be downloaded, no training images, or two layouts at once.
        """
        unpacked = self.root / "gtsrb"
        if self.download and self._layout() in (None, (unpacked, TRAINING)):
            for name, (md5, held) in self.archives.items():
                if not (unpacked / held).exists():
                    download(self.url + name, unpacked, md5)
        self._require_layout()

    def read(self, train: bool) -> dict[str, Images]:
        """Return the images, and take the name that their numbers deserve."""
        place, training = self._require_layout()
        reader = ImageReader(self.shape, resize=True)
        rest, given = Files(_training_samples(place / training), reader), self._test_samples(place)
        self._take_name(place, (len(rest), len(given)), (self.published.get(training), self.published_test))
        test = Files(given, reader)
        if not given:
            rest, test = split(rest, _signs(rest))
        parts = {"test": test}
        if train:
            parts["train"], parts["validation"] = split(rest, _signs(rest))
        if empty := [name for name, part in parts.items() if not len(part)]:
            raise InputError(f"{place} has {len(set(_signs(rest)))} signs: none is left for {empty[0]}", "restore the others")
        return {name: part.decoded() for name, part in parts.items()}

    def _layout(self) -> tuple[Path, str] | None:
        """Return the place that holds images, and the folder of the training images in it."""
        folders = [(self.root / place, inside) for place in PLACES for inside in (*self.published, ".")]
        found = [(place, inside) for place, inside in folders if any(int(of.name) == 0 for of in _class_folders(place / inside))]
        require_one([place / inside for place, inside in found])
        return found[0] if found else None

    def _require_layout(self) -> tuple[Path, str]:
        found = self._layout()
        if found is None:
            folder = self.root / "gtsrb"
            raise InputError(
                f"{folder / TRAINING} has no class folders",
                f"give download=True, or unpack the archives of {self.url} in {folder}",
            )
        return found

    def _test_samples(self, place: Path) -> Samples:
        """Return path and class of each official test image, as the table lists them; nothing if there are neither."""
        folder = place / TEST
        tables = [path for path in (place / TABLE, folder / TABLE, folder.parent / TABLE) if path.exists()]
        if not tables and not folder.exists():
            return []
        require(tables[0] if tables else place / TABLE, self.url)
        return _listed(tables[0], folder)

    def _take_name(self, place: Path, found: tuple[int, int], published: tuple[int | None, int]) -> None:
        """Take another name if the numbers of images to train on and to test are not the published ones, and say so once."""
        name = type(self).name if found == published else f"{type(self).name}-subset-{sum(found)}"
        if name not in (self.name, type(self).name):
            log.warning("%s: %s has %d images to train on and %d to test, not the published ones", name, place, *found)
        self.name = name


def _class_folders(folder: Path) -> list[Path]:
    """Return the class folders in the order of their numbers, with or without zeros before them."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.is_dir() and path.name.isdecimal()), key=lambda path: int(path.name))


def _training_samples(folder: Path) -> Samples:
    """Return path and class of each training image, by class, then by name, once each class is there."""
    folders = _class_folders(folder)
    numbers = [int(path.name) for path in folders]
    if wrong := [number for number in {*numbers, *LABELS.values()} if numbers.count(number) != (number in LABELS.values())]:
        raise InputError(
            f"{folder} has {numbers.count(wrong[0])} folders of class {wrong[0]}", "let it have one for each number from 0 to 42"
        )
    return [(str(path), label) for label, of_class in enumerate(folders) for path in _frames(of_class)]


def _frames(folder: Path) -> list[Path]:
    """Return the images of a class by name, once there is nothing else but the published table."""
    paths = sorted(path for path in folder.iterdir() if path.suffix != ".csv" and not is_litter(path.name))
    if strays := [path for path in paths if not FRAME.fullmatch(path.name)]:
        raise InputError(f"{strays[0]} is not named as an image of a sign: 00012_00029.ppm", "remove or rename it")
    if not paths:
        raise InputError(f"{folder} has no images", "restore them")
    return paths


def _signs(files: Files) -> list[str]:
    """Return the physical sign that each training image shows: its class, and the first number of its name."""
    return [f"{label:02}/{Path(path).name.partition('_')[0]}" for path, label in files.samples]


def _listed(table: Path, folder: Path) -> Samples:
    """Return path and class of each image in a folder, once a table lists each once, with one of the classes."""
    rows = read_rows(table, _AGAIN, delimiter=";")
    present = {path.name for path in folder.glob("*.ppm") if not is_litter(path.name)}
    samples: dict[str, int] = {}
    for line, row in enumerate(rows[1:], 2):
        if rows[0] != COLUMNS or len(row) != len(COLUMNS) or row[-1] not in LABELS:
            raise InputError(f"line {line} of {table} names no class: {';'.join(row)}", _AGAIN)
        if row[0] not in present:
            raise InputError(f"{folder / row[0]} does not exist, but {table.name} lists it", _AGAIN)
        if row[0] in samples:
            raise InputError(f"line {line} of {table} names {row[0]} again", _AGAIN)
        samples[row[0]] = LABELS[row[-1]]
    if unlisted := present - samples.keys():
        raise InputError(f"{folder / min(unlisted)} is not in {table}", _AGAIN)
    if not samples:
        raise InputError(f"{table} lists no images", _AGAIN)
    return [(str(folder / name), label) for name, label in samples.items()]


_AGAIN = f"remove the test images, and unpack {TrafficSigns.url} again"
