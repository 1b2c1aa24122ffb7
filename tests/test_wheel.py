"""The wheel, installed into an empty folder: the README's ten lines need neither a checkout nor a network."""

import json
import os
import shutil
import subprocess
import sys
from zipfile import ZipFile

import pytest

from sll_zoo.zoo.folder import CHECKPOINTS
from sll_zoo.zoo.publishing.results import RESULTS
from sll_zoo.zoo.records.record import read_records
from tests.checkouts import ROOT

pytestmark = pytest.mark.slow

TEN_LINES = (ROOT / "README.md").read_text("utf-8").split("```python\n")[1].split("```")[0]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
# Options of pip for an installation without a package index.
ALONE = ["--quiet", "--no-index", "--no-deps"]
HATCHLING = [sys.executable, "-m", "hatchling", "build", "-t"]
INSIDE = "sll_zoo/checkpoints/"
RECORD = read_records()["sll_nano.digits"]


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wheel_of(source, folder):
    run(*PIP, "wheel", *ALONE, "--no-build-isolation", "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return wheel_of(ROOT, tmp_path_factory.mktemp("wheel"))


def held(wheel):
    """Return the sets of weights in a wheel: the content of each file, by its path."""
    with ZipFile(wheel) as archive:
        return {name.removeprefix(INSIDE): archive.read(name) for name in archive.namelist() if name.startswith(INSIDE)}


def test_the_readmes_ten_lines_run_and_list_says_where_the_weights_are(wheel, tmp_path):
    """The installed package comes first on the path, the checkout is not on it, and the Hub of this suite answers nobody."""
    site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    run(*PIP, "install", *ALONE, "--target", site, wheel)
    elsewhere.mkdir()
    program = f"""
import sys
sys.path[:] = [{str(site)!r}, *(path for path in sys.path if path != {str(ROOT)!r})]
{TEN_LINES}
print(sll_zoo.__file__)
from sll_zoo.cli.main import main
main(["list", "--pretrained", "--json"])
"""
    environment = os.environ | {"HF_HOME": str(elsewhere)}
    said, package, listed = run(sys.executable, "-P", "-c", program, cwd=elsewhere, env=environment).split("\n", 2)
    accuracy = RECORD.measured.accuracy
    assert said == f"clean {accuracy.clean:.2%}, certified at 36/255 {accuracy.certified[0].accuracy:.2%}"
    assert package == str(site / "sll_zoo" / "__init__.py")
    assert {one["name"]: one["location"] for one in json.loads(listed)}[RECORD.name] == str(site / INSIDE / RECORD.name)


def is_small(folder):
    size = sum(path.stat().st_size for path in folder.iterdir() if path.name not in RESULTS)
    return size <= 10_000_000 and "_subset_" not in folder.name


def test_the_wheel_holds_every_small_set_in_full(wheel):
    shipped = {path for path in CHECKPOINTS.glob("*/*") if path.name not in RESULTS and is_small(path.parent)}
    assert held(wheel) == {path.relative_to(CHECKPOINTS).as_posix(): path.read_bytes() for path in shipped}


def test_the_source_distribution_gives_the_same_wheel(wheel, tmp_path):
    run(*HATCHLING, "sdist", "-d", tmp_path, cwd=ROOT)
    (source,) = tmp_path.glob("*.tar.gz")
    assert wheel_of(source, tmp_path / "wheel").read_bytes() == wheel.read_bytes()


def test_a_large_set_stays_out_and_too_many_small_ones_fail_the_build(tmp_path):
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "sll_zoo/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    sizes = {
        "large": 10_000_001,
        "a_subset_1": 1,
        "small": 10_000_000,
        "others": 10_000_000,
        "third": 10_000_000,
        "fourth": 2_000_001,
    }
    for place, (name, size) in enumerate(sizes.items()):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        with (tmp_path / "checkpoints" / name / "model.safetensors").open("wb") as file:
            file.truncate(size)
        if place == 2:
            assert held(wheel_of(tmp_path, tmp_path / "wheel")).keys() == {"small/model.safetensors"}
    with pytest.raises(AssertionError, match=r"32,000,001 .*32,000,000"):
        wheel_of(tmp_path, tmp_path / "wheel")
