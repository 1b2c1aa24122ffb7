"""What timm saves: a pickle, which is named and never loaded, or safetensors, which load."""

import json
import re
import shlex
import subprocess
import sys

import pytest
import timm
import torch
from timm.models import save_for_hf

import sll_zoo
from sll_zoo.errors import WeightsError
from sll_zoo.zoo.weights.reading import CONFIG_FILE

CHANGED = {"family": "aol", "num_classes": 4, "in_chans": 3, "img_size": 16, "pool": 4, "dense_layers": 1, "mean": (0.1,)}


def refused(name):
    with pytest.raises(WeightsError, match=r"model\.safetensors .*pytorch_model\.bin") as caught:
        sll_zoo.create_model(name, pretrained=True)
    return str(caught.value)


@pytest.mark.parametrize("arguments", [{}, CHANGED])
def test_a_pickle_is_named_and_the_recipe_for_it_works(arguments, tmp_path):
    model = timm.create_model("sll_nano.digits", **arguments)
    save_for_hf(model, tmp_path, model_args=arguments)
    told = refused(f"local-dir:{tmp_path}")
    assert "save_for_hf(..., safe_serialization=True)" in told
    recipe = shlex.split(re.search(r"python -c \".*\"", told)[0])
    assert recipe[0] == "python"
    subprocess.run([sys.executable, *recipe[1:]], check=True)
    loaded = sll_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True)
    x = torch.rand(2, *model.config.input_shape)
    assert torch.equal(loaded(x), model(x))


@pytest.mark.parametrize("arguments", [{}, CHANGED])
@pytest.mark.parametrize("both", [True, "both"])
def test_safetensors_of_timm_load(arguments, both, tmp_path):
    model = timm.create_model("sll_nano.digits", **arguments)
    model.reset_classifier(6)
    save_for_hf(model, tmp_path, safe_serialization=both, model_args={**arguments, "num_classes": 6})
    loaded = sll_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True)
    x = torch.rand(2, *model.config.input_shape)
    assert torch.equal(loaded(x), model(x))
    assert loaded.config == model.config


def test_a_configuration_that_does_not_say_the_shape_is_refused_by_the_tensors(tmp_path):
    save_for_hf(timm.create_model("sll_nano.digits", conv_inner=3), tmp_path, safe_serialization=True)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    config.get("model_args", {}).pop("conv_inner", None)
    (tmp_path / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"convs\.0\.bias .*\(3,\).*\(16,\)"):
        sll_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True)


def test_a_repository_that_holds_a_pickle_alone_is_refused_without_fetching_it(served, client, tmp_path):
    save_for_hf(timm.create_model("sll_nano.digits"), tmp_path)
    served.put("user/pickle", {path.name: path.read_bytes() for path in tmp_path.iterdir()})
    with pytest.raises(WeightsError, match=r"user/pickle .*model\.safetensors .*pytorch_model\.bin"):
        client.load("hf-hub:user/pickle")
    assert served.asked("*/pytorch_model.bin", "GET") == []
