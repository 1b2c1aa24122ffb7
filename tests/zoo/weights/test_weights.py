import json
import shutil

import pytest
import safetensors.torch
import torch

import sll_zoo
from sll_zoo.errors import PublishError, WeightsError
from sll_zoo.zoo import folder as folders
from sll_zoo.zoo.weights.reading import CONFIG_FILE
from sll_zoo.zoo.weights.shards import WEIGHTS_FILE

NAME = "sll_nano.digits"


@pytest.fixture
def checkout(folder, monkeypatch):
    """A checkout of its own, whose file a test may spoil."""
    monkeypatch.setattr(folders, "CHECKPOINTS", folder.parent)
    return folder


def forget_hash(folder):
    config = json.loads((folder / CONFIG_FILE).read_text())
    del config["certified"]
    (folder / CONFIG_FILE).write_text(json.dumps(config))


def change(folder, edit):
    state = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    edit(state)
    safetensors.torch.save_file(state, folder / WEIGHTS_FILE)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (flip_a_byte, "sha256"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "830,795 .*830,796"),
        (lambda path: path.write_bytes(path.read_bytes() + b"0"), "830,797 .*830,796"),
        (lambda path: path.write_bytes(b""), " 0 .*830,796"),
        (lambda path: path.write_text("<html>Not found</html>"), "HTML"),
        (lambda path: torch.save({}, path), "torch.save"),
    ],
)
def test_a_file_that_is_not_the_pinned_one_is_refused(checkout, damage, words):
    sll_zoo.create_model(NAME, pretrained=True)
    damage(checkout / WEIGHTS_FILE)
    with pytest.raises(WeightsError, match=words):
        sll_zoo.create_model(NAME, pretrained=True)


def test_a_folder_states_the_hash_of_its_weights(folder):
    flip_a_byte(folder / WEIGHTS_FILE)
    with pytest.raises(WeightsError, match="sha256"):
        sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)


def test_weights_without_a_record_are_not_published(folder):
    forget_hash(folder)
    with pytest.raises(PublishError, match="no record"):
        sll_zoo.publish(str(folder), "zoo/name", dry_run=True)


@pytest.mark.parametrize("size", [-1, 200])
def test_a_truncated_file_without_a_hash_is_refused(folder, size):
    forget_hash(folder)
    path = folder / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(WeightsError, match="not a safetensors file"):
        sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)


def test_nan_weights_are_refused(folder):
    forget_hash(folder)
    change(folder, lambda state: state["head.bias"].__setitem__(0, torch.nan))
    with pytest.raises(WeightsError, match=r"NaN.*head\.bias"):
        sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda state: state.pop("head.bias"), "head.bias .*absent"),
        (lambda state: state.update(extra=torch.zeros(1)), "extra .*absent"),
        (lambda state: state.update({"head.bias": torch.zeros(3)}), r"head.bias .*\(3,\)"),
        (lambda state: state.update({"head.bias": state["head.bias"].long()}), "head.bias .*torch.int64"),
        (lambda state: state.update(extra=torch.zeros(1).byte()), "extra .*torch.uint8 .*absent"),
    ],
)
def test_tensors_of_another_model_are_refused(folder, edit, words):
    forget_hash(folder)
    change(folder, edit)
    with pytest.raises(WeightsError, match=words):
        sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)


def test_weights_of_another_shape_than_asked_for_are_refused():
    with pytest.raises(WeightsError, match=r"\(16,.*\(8,"):
        sll_zoo.create_model(NAME, pretrained=True, conv_inner=8)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("not json", "no model's config.json"),
        ("[]", "no model's config.json"),
        ("[" * 100_000, "no model's config.json"),
        ({"architecture": ["sll_nano"]}, "no model's config.json"),
        ({"architecture": "resnet18"}, "'resnet18'"),
        ({"certified": None}, "config.json .*record"),
        ({"certified": {"sha256": "0"}}, "config.json .*record"),
        ({"pretrained_cfg": None}, "no model's config.json"),
        ({"pretrained_cfg": {"unknown": 1}}, "no model's config.json"),
        ({"model_args": None}, "no model's config.json"),
        ({"num_classes": "ten"}, "no model's config.json"),
        ({"pretrained_cfg": {"input_size": None}}, "no model's config.json"),
    ],
)
def test_a_config_that_is_not_ours_is_refused(folder, content, words):
    path = folder / CONFIG_FILE
    path.write_text(content if isinstance(content, str) else json.dumps(json.loads(path.read_text()) | content))
    with pytest.raises((WeightsError, LookupError), match=words):
        sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)


def test_a_folder_without_weights_is_refused(folder):
    (folder / WEIGHTS_FILE).unlink()
    sll_zoo.create_model(f"local-dir:{folder}")
    with pytest.raises(WeightsError, match=r"model\.safetensors .*exist"):
        sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)


def test_a_named_file_takes_the_place_of_the_published_one(folder):
    path = str(folder / WEIGHTS_FILE)
    model = sll_zoo.create_model(NAME, pretrained=True, pretrained_cfg_overlay={"file": path})
    assert torch.equal(model.head.bias, safetensors.torch.load_file(path)["head.bias"])


def test_without_a_checkout_and_without_a_network_the_message_names_the_remedies(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "CHECKPOINTS", tmp_path)
    with pytest.raises(WeightsError, match=f"{NAME}.*cache.*sll-zoo pull"):
        sll_zoo.create_model(NAME, pretrained=True)


def test_the_hubs_cache_serves_without_a_network(tmp_path, monkeypatch, folder):
    monkeypatch.setattr(folders, "CHECKPOINTS", tmp_path / "none")
    repository = tmp_path / "cache" / "models--sll-zoo--sll_nano.digits"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "v1.0").write_text("0" * 40)
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
    model = sll_zoo.create_model(NAME, pretrained=True, cache_dir=tmp_path / "cache")
    assert torch.equal(model.head.bias, safetensors.torch.load_file(folder / WEIGHTS_FILE)["head.bias"])
    flip_a_byte(repository / "snapshots" / ("0" * 40) / WEIGHTS_FILE)
    with pytest.raises(WeightsError, match=f"{NAME}.*cache.*sll-zoo pull"):
        sll_zoo.create_model(NAME, pretrained=True, cache_dir=tmp_path / "cache")


def test_a_repository_cannot_send_us_to_a_local_file(tmp_path, folder):
    foreign = shutil.copy(folder / WEIGHTS_FILE, tmp_path / "foreign.safetensors")
    repository = tmp_path / "cache" / "models--org--name"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    snapshot = shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
    config = json.loads((snapshot / CONFIG_FILE).read_text())
    config["pretrained_cfg"]["file"] = str(foreign)
    (snapshot / CONFIG_FILE).write_text(json.dumps(config))
    sll_zoo.create_model("hf-hub:org/name", pretrained=True, cache_dir=tmp_path / "cache")
    flip_a_byte(snapshot / WEIGHTS_FILE)
    with pytest.raises(WeightsError, match="sha256"):
        sll_zoo.create_model("hf-hub:org/name", pretrained=True, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("name", ["org/name", "org/name@v1.0"])
def test_a_repository_that_cannot_be_had_is_one_sentence(name):
    with pytest.raises(WeightsError, match=f"{name} .*cache.*sll-zoo pull"):
        sll_zoo.create_model(f"hf-hub:{name}", pretrained=True)
