"""Small data sets in the layout of the published archives, for the code that reads those."""

import hashlib
import pickle
import shutil
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

WORDNET = ("n01443537", "n02123045", "n04146614")
NAMES = ("goldfish, Carassius auratus", "tabby, tabby cat", "school bus")


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()  # noqa: S324 - the archives are published with MD5


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """Say nothing."""


@contextmanager
def served(folder):
    """Serve the files of a folder on this machine, and give their address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def cifar(reader, root, classes):
    """Write the archive of 20 images of each class to train on and two to test; return ``reader`` with its checksums.

    The same images are written to class folders in ``root/folders``.
    """
    random = np.random.default_rng(0)
    unpacked = root / "unpacked"
    folder = unpacked / reader.base_folder
    folder.mkdir(parents=True)
    label_key, names_key = ("labels", "label_names") if classes == 10 else ("fine_labels", "fine_label_names")

    numbers = iter(random.permutation(10_000))

    def write(name, labels, part):
        pixels = random.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        names = [f"thing_s_{next(numbers):06}.png" for _ in labels]
        for image, label, file in zip(pixels, labels, names, strict=True):
            path = root / "folders" / part / f"class_{label:02}" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.reshape(3, 32, 32).transpose(1, 2, 0)).save(path)
        # Pickles of version 2, as Python 2 wrote them.
        (folder / name).write_bytes(pickle.dumps({"data": pixels, label_key: labels, "filenames": names}, protocol=2))
        return [name, md5(folder / name)]

    batches = np.array_split(np.arange(20 * classes) % classes, len(reader.train_list))
    train = [write(name, part.tolist(), "train") for (name, _), part in zip(reader.train_list, batches, strict=True)]
    test = [write(name, [index % classes for index in range(2 * classes)], "test") for name, _ in reader.test_list]
    meta = folder / reader.meta["filename"]
    meta.write_bytes(pickle.dumps({names_key: [f"class_{index:02}" for index in range(classes)]}, protocol=2))
    meta_md5 = md5(meta)
    archive = root / reader.filename
    shutil.make_archive(str(archive).removesuffix(".tar.gz"), "gztar", unpacked)
    shutil.rmtree(unpacked)
    return type(
        reader.__name__,
        (reader,),
        {
            "train_list": train,
            "test_list": test,
            "meta": {**reader.meta, "md5": meta_md5},
            "tgz_md5": md5(archive),
        },
    )


def tiny_imagenet(root):
    """Write three classes of 20 training and 2 validation images as Tiny-ImageNet's archive has them, and return the archive."""
    random = np.random.default_rng(0)
    folder = root / "unpacked" / "tiny-imagenet-200"
    (folder / "val" / "images").mkdir(parents=True)
    # The published lists are not sorted, and words.txt has more than the 200 classes.
    (folder / "wnids.txt").write_text("\n".join(reversed(WORDNET)) + "\n")
    words = [*zip(WORDNET, NAMES, strict=True), ("n00001740", "entity")]
    (folder / "words.txt").write_text("".join(f"{number}\t{name}\n" for number, name in words))
    annotations = []
    for label, number in enumerate(WORDNET):
        images = folder / "train" / number / "images"
        images.mkdir(parents=True)
        for index in range(20):
            write_image(images / f"{number}_{index}.JPEG", random, grey=index == 0)  # some published images are grey
        (images.parent / f"{number}_boxes.txt").write_text(f"{number}_0.JPEG\t0\t10\t63\t58\n")
        for index in range(2):
            name = f"val_{3 * index + label}.JPEG"
            write_image(folder / "val" / "images" / name, random)
            annotations.append(f"{name}\t{number}\t0\t32\t44\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(annotations))
    archive = root / "tiny-imagenet-200.zip"
    shutil.make_archive(str(archive.with_suffix("")), "zip", folder.parent)
    shutil.rmtree(folder.parent)
    return archive


TABLE = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"


def traffic_signs(folder, name="{:05}", signs=3, frames=2):
    """Write class folders of traffic signs, some frames of each sign, and the table that each published one has.

    The first two channels of an image are the numbers of class and sign, the last one is that of the frame.
    """
    for label in range(43):
        of_class = folder / name.format(label)
        of_class.mkdir(parents=True)
        (of_class / f"GT-{label:05}.csv").write_text(TABLE)
        for sign, frame in np.ndindex(signs, frames):
            Image.new("RGB", (20 + frame, 18 + sign), (label, sign, frame)).save(of_class / f"{sign:05}_{frame:05}.ppm")


def traffic_signs_to_test(folder, table):
    """Write the test images of traffic signs, one of each class, and the table of the classes, which count down."""
    folder.mkdir(parents=True)
    for number in range(43):
        Image.new("RGB", (30, 31), (42 - number, 255, 0)).save(folder / f"{number:05}.ppm")
    table.write_text(TABLE + "".join(f"{number:05}.ppm;30;31;5;5;25;26;{42 - number}\n" for number in range(43)))


def write_image(path, random, size=(64, 64), grey=False):
    """Write an image of noise; the file's name decides on the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = random.integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels[..., 0] if grey else pixels).save(path)
