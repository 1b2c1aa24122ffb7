"""A model's folder is opened once, whatever is done with it."""

import json

import pytest

import sll_zoo
from sll_zoo.cli.main import main
from sll_zoo.zoo import folder as folders

ATTACK = ["--limit", "2", "--steps", "1", "--restarts", "1", "--record"]
# How often config.json may be parsed: a folder that was written is read back, and a record is read again after the attack.
ROADS = {
    "load": (lambda folder, _: sll_zoo.create_model(f"local-dir:{folder}", pretrained=True), 1),
    "pull": (lambda folder, to: sll_zoo.pull(f"local-dir:{folder}", to), 1),
    "publish": (lambda folder, _: sll_zoo.publish(str(folder), "zoo/name", dry_run=True), 1),
    "quantize": (lambda folder, to: main(["quantize", f"local-dir:{folder}", "--data", "digits", "--out", str(to)]), 2),
    "record": (lambda folder, _: main(["attack", f"local-dir:{folder}", "digits", *ATTACK]), 2),
}


@pytest.mark.parametrize("road", ROADS)
def test_a_road_parses_the_configuration_and_checks_the_record_once(road, folder, tmp_path, monkeypatch):
    parsed, checked = [], []
    loads, from_dict = json.loads, folders.from_dict
    monkeypatch.setattr(json, "loads", lambda text, **kwargs: parsed.append(text) or loads(text, **kwargs))
    monkeypatch.setattr(folders, "from_dict", lambda content: checked.append(content) or from_dict(content))
    monkeypatch.chdir(tmp_path)
    walk, times = ROADS[road]
    walk(folder, tmp_path / "to")
    assert len([text for text in parsed if "pretrained_cfg" in str(text)]) == len(checked) == times
