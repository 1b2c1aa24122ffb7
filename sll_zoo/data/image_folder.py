"""Folders of class folders: a user's own images, and data sets that come as files."""

from __future__ import annotations

import logging
from pathlib import Path

from sll_zoo.data.augmentation import Augmentation
from sll_zoo.data.base import ImageData
from sll_zoo.data.folders import Samples, class_folders, divided, list_images, log_skipped
from sll_zoo.data.groups import groups_of, is_table, never_divided, require_apart
from sll_zoo.data.held_out import DATA_MODULES
from sll_zoo.data.images import Files, Images, split
from sll_zoo.data.reading import ImageReader, fitting, size_of
from sll_zoo.data.synthetic import Synthetic
from sll_zoo.errors import ConfigError, InputError

log = logging.getLogger(__name__)


class ImageFolder(ImageData):
    """Images in a folder for each class, either in ``train/`` and ``test/`` or ``val/``, or without such a division.

    ``root/train/cat/1.png`` is an image of the class cat to train on, and so is ``root/cat/1.png``. Without ``test/`` or ``val/``
    beside ``train/``, a tenth of each class is held out to test. Of the rest, a tenth of each class is held out to validate,
    unless there are ``train/``, ``val/`` and ``test/``. It is the same tenth each time. Classes are the folders' names, sorted
    as text; what is hidden is left out. Folders that may be meant for parts, such as ``Test/`` or ``valid/``, are refused, and
    so is a class folder of folders.

    Args:
        root: The folder; its name is that of the data set, after ``folder-`` if a published data set has that name.
        batch_size: Images in a training batch, of all processes together.
        image_size: Height and width, or one number for both, to which images are resized when they are read (bicubic, with
            antialias), cropped at their middle to these proportions first. A certificate then holds for the resized image, not
            for the file. Without it, all images must have the same size.
        channels: 3 for colour, 1 for grey.
        augment: Random changes of training images: ``none``, ``flip``, ``crop``, ``crop_flip``, or ``paper`` (and colours).
        in_memory: Whether to read all images once and hold them in memory, on the device that trains.
        num_workers: Processes that read files ahead if not ``in_memory``; by default as many as there are processors, up to 8.
        groups: Images of one group (frames of a video, pictures of a patient) are never divided among the parts. A regular
            expression, and the group is what it finds in CLASS/NAME: of ``cat/0007_3.png``, ``[^_]*`` finds ``cat/0007``, and
            ``(?<=/)[^_]*`` finds ``0007``, for what has images in several classes. Or the name of a ``.csv`` file with the
            columns ``file``, the path from ROOT, and ``group``.

    Raises:
        ConfigError: A batch or image size below 1, a negative number of workers, or groups that are no regular expression.
        InputError: Another number of channels.
    """

    held_out_arguments = ("root", "image_size", "channels", "groups")

    def __init__(
        self,
        root: str,
        batch_size: int = 256,
        image_size: int | tuple[int, int] | None = None,
        channels: int = 3,
        augment: Augmentation = "paper",
        in_memory: bool = False,
        num_workers: int | None = None,
        groups: str | None = None,
    ) -> None:
        super().__init__(batch_size, augment, num_workers)
        size = (image_size, image_size) if isinstance(image_size, int) else image_size
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ConfigError(f"image_size={image_size}", "give an integer of at least 1, or two: height and width")
        ImageReader((channels, 1, 1))  # refuses another number of channels
        self.root = Path(root)
        name = self.root.resolve().name
        self.name = f"folder-{name}" if name in (*DATA_MODULES, Synthetic.name) else name
        self.image_size = (size[0], size[1]) if size else None
        self.channels = channels
        self.in_memory = in_memory
        self.groups = Path(groups) if groups and is_table(groups) else groups
        self.preparation = ", ".join(filter(None, (fitting(*size) if size else "", "made grey" if channels == 1 else "")))
        self.division = never_divided("group") if groups else ""

    def prepare_data(self) -> None:
        """Check the folders, and the files if they will be read later; log how many files are left out, by their names.

        Raises:
            InputError: A folder without class folders or images, parts with other classes, or a damaged image.
        """
        parts = self._files()
        log_skipped(divided(self.root).values())
        if not self.in_memory:
            for part in parts.values():
                part.verify()

    def read(self, train: bool) -> dict[str, Images]:
        """Return the images."""
        parts = {name: part for name, part in self._files().items() if train or name == "test"}
        return {name: part.decoded() if self.in_memory else part for name, part in parts.items()}

    def _files(self) -> dict[str, Files]:
        folders = divided(self.root)
        self.class_names = tuple(class_folders(folders["train"]))
        samples = {name: list_images(folder, self.class_names) for name, folder in folders.items()}
        _check_classes(folders["train"], self.class_names, samples["train"])
        reader = self._reader(samples["train"])
        parts = {name: Files(listed, reader) for name, listed in samples.items()}
        groups = self._groups(folders, samples)
        for name in ("test", "validation"):
            if name not in parts:
                whole = parts["train"]
                parts["train"], parts[name] = split(whole, [groups[path] for path, _ in whole.samples] if groups else None)
        if empty := [name for name, part in parts.items() if not part.samples]:
            raise InputError(
                f"{self.root} has {len(set(groups.values()))} groups: none is left for {empty[0]}", "give more, or smaller ones"
            )
        return parts

    def _groups(self, folders: dict[str, Path], samples: dict[str, Samples]) -> dict[str, str]:
        """Return the group of each image by its path; nothing if there are no groups."""
        if self.groups is None:
            return {}
        paths = {name: [path for path, _ in listed] for name, listed in samples.items()}
        found = {name: groups_of(listed, folders[name], self.root, self.groups) for name, listed in paths.items()}
        require_apart(found)
        every = [group for part in found.values() for group in part]
        if len(set(every)) == len(every):
            log.warning("groups=%r keeps nothing together: each of %d images is a group of its own", str(self.groups), len(every))
        return {path: group for name in paths for path, group in zip(paths[name], found[name], strict=True)}

    def _reader(self, samples: Samples) -> ImageReader:
        if self.image_size:
            return ImageReader((self.channels, *self.image_size), resize=True)
        path = samples[0][0]
        height, width = size_of(path)
        remedy = f"{path} has {width} x {height}: give image_size, to which all are resized, or images of one size"
        return ImageReader((self.channels, height, width), remedy=remedy)


def _check_classes(root: Path, class_names: tuple[str, ...], samples: Samples) -> None:
    """Raise InputError for fewer than two classes, or a class without training images."""
    if len(class_names) < 2:
        raise InputError(f"{root} has one class, {class_names[0]!r}", "give a folder of images for each of two classes or more")
    if missing := set(range(len(class_names))) - {label for _, label in samples}:
        raise InputError(f"{root / class_names[min(missing)]} has no images to train on", "add some, or remove the class")
