"""Weights in several files: written, loaded, pulled and published like those in one."""

import hashlib
import json

import pytest
import safetensors.torch
import torch

import sll_zoo
from sll_zoo.errors import WeightsError
from sll_zoo.zoo import folder as folders
from sll_zoo.zoo.publishing import save
from sll_zoo.zoo.publishing.save import save_pretrained
from sll_zoo.zoo.records import record
from sll_zoo.zoo.weights.shards import INDEX_FILE, WEIGHTS_FILE, weights_files

LARGEST = 300_000


@pytest.fixture
def shards(pretrained, tmp_path, monkeypatch):
    """A folder with the shipped weights in several files."""
    monkeypatch.setattr(save, "LARGEST", LARGEST)
    save_pretrained(pretrained, tmp_path / "shards", label_names="0123456789")
    monkeypatch.undo()
    return tmp_path / "shards"


def split(folder):
    return sorted(folder.glob("model-*-of-*.safetensors"))


def test_the_files_hold_every_tensor_once_and_the_index_says_where(shards, pretrained):
    paths, stated = split(shards), json.loads((shards / "config.json").read_text())["certified"]
    assert len(paths) == stated["files"] == 3
    assert [path.name for path in paths] == weights_files(record.from_dict(stated))
    content = b"".join(path.read_bytes() for path in paths)
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (stated["sha256"], stated["size"])
    assert all(path.stat().st_size <= LARGEST + 10_000 for path in paths)
    places = {key: path.name for path in paths for key in safetensors.torch.load_file(path)}
    assert json.loads((shards / INDEX_FILE).read_text())["weight_map"] == places
    loaded = sll_zoo.create_model(f"local-dir:{shards}", pretrained=True).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in pretrained.state_dict().items())
    assert "sha256 of model-00001-of-00003.safetensors, model-00002-of" in (shards / "README.md").read_text()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda paths: (paths[0].parent / INDEX_FILE).unlink(), r"model\.safetensors\.index\.json .*exist"),
        (lambda paths: paths[1].unlink(), r"model-00002-of-00003\.safetensors .*exist"),
        (lambda paths: paths[2].write_bytes(b""), r"model-00001-of-00003\.safetensors .* 3 .*truncated"),
        (lambda paths: paths[2].write_text("<html>"), r"model-00003-of-00003\.safetensors .*6 bytes.*HTML"),
        (lambda paths: paths[0].write_bytes(bytes(paths[0].stat().st_size)), "sha256"),
    ],
)
def test_a_file_that_is_absent_or_damaged_is_refused(shards, damage, words):
    damage(split(shards))
    with pytest.raises(WeightsError, match=words):
        sll_zoo.pull(f"local-dir:{shards}", shards.parent / "carried")


def test_another_save_and_another_pull_leave_none_of_the_files_before(shards, pretrained, folder, tmp_path):
    carried = sll_zoo.pull(f"local-dir:{shards}", tmp_path / "carried")
    assert [path.name for path in split(carried)] == [path.name for path in split(shards)]
    sll_zoo.pull(f"local-dir:{folder}", carried)
    save_pretrained(pretrained, shards, label_names="0123456789")
    for place in (carried, shards):
        assert not split(place)
        assert not (place / INDEX_FILE).exists()
        sll_zoo.create_model(f"local-dir:{place}", pretrained=True)


def test_a_checkout_that_lacks_a_file_asks_the_hub(shards, monkeypatch):
    stated = record.from_dict(json.loads((shards / "config.json").read_text())["certified"])
    monkeypatch.setattr(folders, "CHECKPOINTS", shards.parent)
    shards.rename(shards.parent / stated.name)
    assert len(folders.shipped_files(stated)) == 3
    split(shards.parent / stated.name)[2].unlink()
    assert folders.shipped_files(stated) == ()


def test_the_hub_takes_them_and_gives_them_back(served, client, shards, folder, tmp_path):
    published = client.publish(shards, "zoo/shards", tag="v1.0")
    assert {path.name for path in shards.iterdir()} == published.files.keys()
    bias = safetensors.torch.load_file(folder / WEIGHTS_FILE)["head.bias"].tolist()
    assert client.load("hf-hub:zoo/shards@v1.0") == bias
    assert not client.publish(shards, "zoo/shards", tag="v1.0").changed
    status, _, err = client.run("pull", "hf-hub:zoo/shards", "--to", tmp_path / "carried")
    assert status == 0, err
    assert {path.name for path in (tmp_path / "carried").iterdir()} == published.files.keys()
    client.publish(folder, "zoo/shards")
    repository = served.store.repositories["zoo/shards"]
    client.run("pull", "hf-hub:zoo/shards", "--to", tmp_path / "carried")
    assert not split(tmp_path / "carried")
    assert repository.branches["main"] != repository.tags["v1.0"]


def test_a_damaged_file_does_not_stay_in_the_cache(served, client, shards):
    files = {path.name: path.read_bytes() for path in shards.iterdir()}
    last = split(shards)[2].name
    served.put("user/damaged", files | {last: bytes(len(files[last]))})
    with pytest.raises(WeightsError, match="sha256"):
        client.load("hf-hub:user/damaged")
    assert not list(client.cache.glob("models--user--damaged/snapshots/*/*"))
    served.put("user/damaged", files)
    client.load("hf-hub:user/damaged")
