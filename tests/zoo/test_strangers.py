"""What a stranger's repository may state: nothing of it exhausts the memory, reaches elsewhere, or ends in a traceback."""

import json
import subprocess
import sys

import pytest
import torch

import sll_zoo
from sll_zoo.errors import SllZooError, WeightsError
from sll_zoo.zoo.weights.reading import CONFIG_FILE


def state(folder, **changes):
    """Change a folder's configuration, and forget its record."""
    config = json.loads((folder / CONFIG_FILE).read_text())
    del config["certified"]
    if size := changes["model_args"].get("img_size"):
        config["pretrained_cfg"]["input_size"] = [1, *size]
    (folder / CONFIG_FILE).write_text(json.dumps(config | changes | {"model_args": config["model_args"] | changes["model_args"]}))


@pytest.mark.parametrize(
    "sizes",
    [
        {"width": 10**9},
        {"width": 10**30},
        {"conv_layers": 10**9},
        {"dense_inner": 10**12},
        {"kernel_size": 10**9 + 1},
        {"img_size": [10**6, 10**6]},
    ],
)
def test_sizes_that_no_memory_holds_are_refused_before_anything_is_allocated(folder, sizes):
    state(folder, model_args=sizes)
    with pytest.raises(WeightsError, match=r"fit .*000000"):
        sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)


def test_images_that_would_fill_the_memory_are_refused(folder):
    """The pooling makes the weights of such images as small as those of others."""
    state(folder, model_args={"img_size": [16384, 16384], "pool": 2048})
    with pytest.raises(WeightsError, match=r"16384, 16384.*memory"):
        sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_args": {"pretrained_cfg_overlay": {"file": "/etc/passwd"}}}, "pretrained_cfg_overlay"),
        ({"model_args": {"cache_dir": "elsewhere"}}, "cache_dir"),
        ({"model_args": {"num_classes": 11}}, "no model's config.json"),
        ({"model_args": {"width": "8"}}, "width='8'"),
        ({"model_args": {}, "num_classes": 11}, "no model's config.json"),
        ({"model_args": {}, "pretrained_cfg": {"tag": ["digits"], "input_size": [1, 8, 8]}}, "no model's config.json"),
    ],
)
def test_a_configuration_that_nobody_saved_is_refused_in_a_sentence(folder, changes, words):
    state(folder, **changes)
    with pytest.raises(SllZooError, match=words):
        sll_zoo.create_model(f"local-dir:{folder}", pretrained=True)


def test_a_refused_repository_leaves_nothing_and_a_giant_configuration_is_not_fetched(served, client, files, folder):
    state(folder, model_args={"width": "8"})
    served.put("user/typo", files | {CONFIG_FILE: (folder / CONFIG_FILE).read_bytes()})
    with pytest.raises(SllZooError, match="width='8'"):
        client.load("hf-hub:user/typo")
    assert not list(client.cache.glob("models--user--typo/snapshots/*/*"))
    served.put("user/giant", files | {CONFIG_FILE: files[CONFIG_FILE] + b" " * 10_000_000})
    with pytest.raises(WeightsError, match=r"config.json of user/giant .* bytes"):
        client.load("hf-hub:user/giant")


def test_a_folder_that_is_filled_anew_keeps_nothing_of_the_model_before(folder, tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "mine.txt").write_text("mine")
    sll_zoo.pull(f"local-dir:{folder}", tmp_path / "to")
    (folder / "curve.png").unlink()
    sll_zoo.pull(f"local-dir:{folder}", tmp_path / "to")
    assert {path.name for path in (tmp_path / "to").iterdir()} == {"mine.txt", *(path.name for path in folder.iterdir())}


@pytest.mark.parametrize("content", [[], {"state_dict": {}, "hyper_parameters": {}}, {"state_dict": [], "hyper_parameters": 1}])
def test_a_checkpoint_of_something_else_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(WeightsError, match=r"other.ckpt .*no checkpoint"):
        sll_zoo.publish(str(tmp_path / "other.ckpt"), "zoo/other", dry_run=True)


@pytest.mark.slow
def test_a_traceback_shows_neither_the_token_nor_the_password_in_the_endpoint(hub, site, tmp_path):
    endpoint = hub.endpoint.replace("//", "//joe:hunter2@")
    environment = hub.environment(tmp_path, PYTHONPATH=str(site)) | {"HF_ENDPOINT": endpoint}
    program = "import sll_zoo; sll_zoo.create_model('hf-hub:user/absent', pretrained=True)"
    run = subprocess.run([sys.executable, "-c", program], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert "WeightsError" in run.stderr
    assert "/user/absent/resolve/main" in run.stderr
    assert "hunter2" not in run.stderr
    assert hub.token not in run.stderr
