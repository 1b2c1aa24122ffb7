"""The German Traffic Sign Recognition Benchmark, made up, in each of its layouts."""

import shutil
from pathlib import Path

import pytest

import sll_zoo
from sll_zoo.data import TrafficSigns, open_data
from sll_zoo.errors import ConfigError, InputError
from sll_zoo.zoo.publishing.recording import measurement_on
from sll_zoo.zoo.tags import DATA_OF_TAG
from tests.data import published

PARTS = ("train", "validation", "test")
SIGNS, FRAMES = 3, 2
N = 43 * SIGNS * FRAMES
# Folder in a root, and how class folders are named.
TORCHVISION, OFFICIAL, ALONE = ("gtsrb/GTSRB/Training", "{:05}"), ("GTSRB/Final_Training/Images", "{:05}"), ("gtsrb", "{}")


@pytest.fixture(autouse=True)
def _few(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TrafficSigns, "published", dict.fromkeys(TrafficSigns.published, N))
    monkeypatch.setattr(TrafficSigns, "published_test", 43)


def write(layout, root="data", test=True):
    """Write signs in a layout, with the official test images beside them, and return the folder of the training images."""
    inside, name = layout
    folder = Path(root, inside)
    published.traffic_signs(folder, name, SIGNS, FRAMES)
    if test and layout != ALONE:
        place = Path(root, inside.partition("GTSRB")[0])
        images = place / "GTSRB/Final_Test/Images"
        published.traffic_signs_to_test(images, (images.parent if layout == OFFICIAL else place) / "GT-final_test.csv")
    return folder


def signs_in(data, part):
    """Return the signs of a part: class and number, which the pixels are made of."""
    images = data.part(part).images
    assert images.shape[1:] == (3, 32, 32)
    return {tuple(pixel) for pixel in images[:, :2, 16, 16].tolist()}


@pytest.mark.parametrize("layout", [TORCHVISION, OFFICIAL, ALONE], ids=["torchvision", "official", "alone"])
def test_each_layout_gives_three_parts_that_share_no_sign_and_have_every_class(layout, caplog):
    write(layout)
    data = TrafficSigns()
    data.prepare_data()
    data.setup()
    signs = {part: signs_in(data, part) for part in PARTS}
    assert sum(map(len, signs.values())) == len(set.union(*signs.values())) == 43 * (SIGNS + (layout != ALONE))
    for part in PARTS:
        assert {label for label, _ in signs[part]} == set(range(43))
        assert data.part(part).images[:, 0, 16, 16].tolist() == data.part(part).labels.tolist()
    genuine = layout != ALONE
    assert data.name == ("gtsrb" if genuine else f"gtsrb-subset-{N}")
    assert bool(caplog.messages) != genuine
    again = TrafficSigns()
    assert again.fingerprint("test") == data.fingerprint("test")  # which reads no other part
    assert (again.name, again.fingerprint()) == (data.name, data.fingerprint())


def test_training_images_alone_are_divided_alike_in_every_layout():
    made = []
    for root, layout in (("a", TORCHVISION), ("b", OFFICIAL), ("c", ALONE)):
        write(layout, root, test=False)
        data = TrafficSigns(root)
        made.append((data.fingerprint(), data.name))
    assert made == made[:1] * 3


def test_other_images_are_a_subset_with_its_number_which_is_said_once(caplog):
    folder = write(TORCHVISION)
    (folder / "00017" / "00001_00001.ppm").unlink()
    data = TrafficSigns()
    data.setup("test")
    data.setup("fit")
    assert data.name == f"gtsrb-subset-{N + 42}"
    (told,) = caplog.messages
    assert all(str(value) in told for value in (data.name, N - 1, 43))
    for name in ("00001_00001.ppm", "00001_00002.ppm"):
        shutil.copy(folder / "00017" / "00001_00000.ppm", folder / "00017" / name)
    data = TrafficSigns()
    assert (len(data.part("train")) + len(data.part("validation")), data.name) == (N + 1, f"gtsrb-subset-{N + 44}")


def test_the_name_on_the_command_line_is_that_of_the_images():
    folder = write(TORCHVISION)
    opened = open_data("gtsrb", (3, 32, 32), 43, DATA_OF_TAG["gtsrb"].label_names)
    assert (opened.name, len(opened), opened.class_names) == ("gtsrb", 43, TrafficSigns.class_names)
    assert opened.about == f"images were {TrafficSigns.preparation}; {TrafficSigns.division}"
    shutil.rmtree(folder.parent)
    Path("data/gtsrb/GT-final_test.csv").unlink()
    write(ALONE, "data")
    opened = open_data("gtsrb", (3, 32, 32), 43)
    assert (opened.name, len(opened)) == (f"gtsrb-subset-{N}", 43 * FRAMES)
    small = {"width": 12, "conv_layers": 1, "conv_inner": 2, "dense_layers": 1, "dense_inner": 8}
    measured = measurement_on(opened, sll_zoo.evaluate(sll_zoo.create_model("sll_tiny.gtsrb", **small).eval(), opened.batches()))
    assert (measured.dataset, measured.n) == (opened.name, len(opened))
    assert (measured.preparation, measured.division) == (TrafficSigns.preparation, TrafficSigns.division)


def _folder_of_another_class(folder):
    shutil.copytree(folder / "42", folder / "43")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda folder: (folder / "7" / "00001_00000.ppm").write_bytes(b""), "7/00001_00000.ppm .*remove"),
        (lambda folder: _cut(folder / "7" / "00001_00000.ppm"), "7/00001_00000.ppm .*remove"),
        (lambda folder: (folder / "7" / "stop.ppm").touch(), "7/stop.ppm"),
        (lambda folder: (folder / "7" / "00001_00009.png").touch(), "7/00001_00009.png"),
        (lambda folder: shutil.rmtree(folder / "7"), "gtsrb has 0 .* class 7"),
        (lambda folder: shutil.copytree(folder / "7", folder / "00007"), "gtsrb has 2 .* class 7"),
        (_folder_of_another_class, "gtsrb has 1 .* class 43"),
        (lambda folder: [path.unlink() for path in (folder / "7").glob("*.ppm")], "gtsrb/7 has no images"),
        (shutil.rmtree, "gtsrb/GTSRB/Training .*download=True"),
    ],
)
def test_what_is_wrong_with_training_images_is_named(change, words):
    change(write(ALONE))
    with pytest.raises(InputError, match=words):
        TrafficSigns().prepare_data() or TrafficSigns().setup()


def _cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def _edit(old, new):
    """Return a function that changes the table of the test images."""

    def change(_, table):
        assert old in table.read_text()
        table.write_text(table.read_text().replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda images, _: (images / "00003.ppm").unlink(), "00003.ppm does not exist"),
        (lambda images, _: shutil.copy(images / "00003.ppm", images / "00043.ppm"), "00043.ppm is not in"),
        (lambda images, _: _cut(images / "00003.ppm"), "00003.ppm cannot be read"),
        (_edit("00003.ppm", "00002.ppm"), "line 5 .* 00002.ppm again"),
        (_edit(";39\n", ";43\n"), "line 5 .*;43"),
        (_edit(";39\n", "\n"), "line 5 "),
        (_edit("ClassId", "Class"), "line 2 "),
        (lambda _, table: table.write_bytes(b"\xff\xfe"), "GT-final_test.csv cannot be read"),
        (lambda _, table: table.unlink(), "GT-final_test.csv does not exist"),
        (lambda images, _: shutil.rmtree(images), "00000.ppm does not exist"),
    ],
)
def test_what_is_wrong_with_test_images_is_named(change, words):
    place = write(TORCHVISION).parents[1]
    change(place / "GTSRB/Final_Test/Images", place / "GT-final_test.csv")
    with pytest.raises(InputError, match=words):
        TrafficSigns().setup("test")


def test_two_layouts_at_once_are_refused():
    write(OFFICIAL)
    write(ALONE)
    with pytest.raises(InputError, match="data/GTSRB/Final_Training/Images and data/gtsrb "):
        TrafficSigns(download=True).prepare_data()


def test_what_is_missing_of_torchvisions_layout_is_downloaded(monkeypatch, tmp_path):
    place = write(TORCHVISION, "unpacked").parents[1]
    (tmp_path / "there").mkdir()
    archives = {}
    for name, (_, held) in TrafficSigns.archives.items():
        shutil.make_archive(str(tmp_path / "there" / name.removesuffix(".zip")), "zip", place, held)
        archives[name] = published.md5(tmp_path / "there" / name), held
    monkeypatch.setattr(TrafficSigns, "archives", archives)
    with published.served(tmp_path / "there") as address:
        monkeypatch.setattr(TrafficSigns, "url", f"{address}/")
        data = TrafficSigns(download=True)
        data.prepare_data()
        shutil.rmtree("data/gtsrb/GTSRB/Final_Test")
        data.prepare_data()
    assert (data.fingerprint(), data.name) == (TrafficSigns("unpacked").fingerprint(), "gtsrb")


def test_the_tag_has_the_data_sets_classes():
    tag = DATA_OF_TAG["gtsrb"]
    assert (tag.input_size, tag.num_classes, tag.label_names) == (TrafficSigns.shape, 43, TrafficSigns.class_names)
    assert len(set(tag.label_names)) == 43


def test_augmentations_that_mirror_signs_are_refused():
    for augment in ("flip", "crop_flip", "paper"):
        with pytest.raises(ConfigError, match=augment):
            TrafficSigns(augment=augment)
