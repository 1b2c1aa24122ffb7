import re
import subprocess

import pytest
import torch

import sll_zoo
from sll_zoo.cli.parsers import command_line
from tests.checkouts import ROOT

DOCS = sorted(ROOT.glob("docs/**/*.md"))
PAGES = [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "checkpoints/README.md")), *DOCS]
FENCES = [
    fence
    for page in (ROOT / "README.md", *DOCS)
    if page.parent.name != "tutorials"  # test_tutorials.py follows those
    for fence in re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize("fence", FENCES)
def test_every_fence_runs(fence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(fence, "fence", "exec"), {})  # noqa: S102 - the repository's own pages


@pytest.mark.parametrize("card", sorted(ROOT.glob("checkpoints/*/README.md")), ids=lambda card: card.parent.name)
def test_the_fence_of_every_card_runs(card):
    (fence,) = re.findall(r"^```python\n(.*?)^```", card.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert fence.startswith("import sll_zoo")
    scope: dict = {}
    exec(compile(fence, str(card), "exec"), scope)  # noqa: S102 - the repository's own card
    assert scope["certificate"].radius.shape == (4,)


def test_there_are_fences_to_run():
    assert len(FENCES) >= 3


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_table_of_sizes_is_true():
    from sll_zoo.zoo.entries import SIZES

    row = re.compile(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) M \|$", re.MULTILINE)
    stated = {name: sizes for name, *sizes in row.findall((ROOT / "docs/guide/models.md").read_text("utf-8"))}
    assert stated.keys() == {f"sll_{size}" for size in SIZES if not size.endswith("nano")}
    for name, (first, second, width, millions) in stated.items():
        with torch.device("meta"):
            model = sll_zoo.create_model(f"{name}.cifar10")
        config = model.config
        names = ("blocks", "block_layers") if "convnet" in name else ("conv_layers", "dense_layers")
        assert tuple(getattr(config, key) for key in (*names, "width")) == (int(first), int(second), int(width))
        assert f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f}" == millions


def test_the_page_of_the_command_line_names_every_command():
    (commands,) = [action.choices for action in command_line()._actions if action.choices]
    page = (ROOT / "docs/guide/command_line.md").read_text("utf-8")
    assert set(re.findall(r"^    \.venv/bin/sll-zoo (\w+)", page, re.MULTILINE)) == set(commands)


def test_files_stay_of_a_size_that_a_reader_takes_in_at_once():
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    paths = listed.stdout.split() or [str(path) for path in ROOT.glob("sll_zoo/**/*.py")]
    long = {path: lines for path in paths if (lines := len((ROOT / path).read_text("utf-8").splitlines())) > 300}
    assert long == {}
