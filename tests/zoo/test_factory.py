import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import timm
import torch

import sll_zoo
from sll_zoo.errors import ConfigError, UnknownNameError, UntrainedHeadWarning, WeightsError
from sll_zoo.layers import FAMILIES
from sll_zoo.models import LipNet
from sll_zoo.models.config import SORT_FAMILIES
from sll_zoo.zoo.entries import ARCHITECTURES, SIZES, TAGS
from sll_zoo.zoo.records.record import read_records
from sll_zoo.zoo.tags import DATA_OF_TAG

FIRST_OF_EACH_FAMILY = [f"{family}_nano.{TAGS[f'{family}_nano'][0]}" for family in FAMILIES if family != "sll"]


def table(conv_layers, dense_layers, width, size=32, classes=10, inner=5, dense_inner=2048):
    """Count parameters from the paper's table of sizes."""
    features = width * (size // 4) ** 2
    convs = conv_layers * (inner * width * 9 + 2 * inner)
    denses = dense_layers * (dense_inner * features + 2 * dense_inner)
    return convs + denses + classes * features + classes


@pytest.mark.parametrize(
    ("name", "sizes", "millions"),
    [
        ("small", (20, 7, 45), 41.4),
        ("medium", (30, 10, 60), 78.8),
        ("large", (50, 10, 90), 118.3),
        ("xlarge", (70, 15, 120), 236.5),
    ],
)
def test_the_papers_networks_have_the_papers_sizes(name, sizes, millions):
    for tag, data in (("cifar10", (32, 10)), ("cifar100", (32, 100)), ("tiny_imagenet", (64, 200))):
        with torch.device("meta"):
            model = sll_zoo.create_model(f"sll_{name}.{tag}")
        parameters = sum(parameter.numel() for parameter in model.parameters())
        assert parameters == table(*sizes, *data)
        if tag == "cifar10":
            assert parameters / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize(("name", "width", "millions"), [("xs", 16, 1.57), ("s", 32, 6.28), ("m", 64, 25.12), ("l", 128, 100.46)])
@pytest.mark.parametrize("family", ["sll", "sll2", "cpl", "aol"])
def test_the_downsampling_networks_have_the_comparisons_sizes(family, name, width, millions):
    with torch.device("meta"):
        cifar, tiny = (sll_zoo.create_model(f"{family}_convnet_{name}.{tag}") for tag in ("cifar10", "tiny_imagenet"))
    # The comparison counts weights and biases, up to its last dense layer: there is no head and no q in its figures.
    counted = sum(p.numel() for key, p in cifar.named_parameters() if not key.endswith("log_q") and not key.startswith("head"))
    channels = [width, *(width * 2**i for i in range(5) for _ in range(5)), 32 * width]
    kernels = [1, *(9 if i < 4 else 1 for i in range(5) for _ in range(5)), 1]
    assert counted == sum(k * c**2 + c for c, k in zip(channels, kernels, strict=True))
    assert counted / 1e6 == pytest.approx(millions, abs=0.005)
    assert (tiny.config.blocks, tiny.config.width, tiny.num_features) == (6, width // 2, 32 * width)


def test_nano_has_at_most_a_million_parameters():
    assert sum(p.numel() for p in sll_zoo.create_model("sll_nano").parameters()) <= 1e6


def test_timm_knows_the_models_after_the_import():
    assert timm.list_models("sll_*") == sll_zoo.list_models("sll_*") == [f"sll_{size}" for size in sorted(SIZES)]
    assert sll_zoo.list_models() == sorted(ARCHITECTURES)
    with_weights = sll_zoo.list_models(pretrained=True)
    assert with_weights == sorted(read_records())
    assert timm.list_models("*_*.*", pretrained=True, module="entries") == with_weights
    model = timm.create_model("sll_nano.digits", pretrained=True)
    assert isinstance(model, LipNet)
    data = timm.data.resolve_model_data_config(model)
    assert (data["mean"], data["std"], data["input_size"]) == ((0.0,), (1.0,), (1, 8, 8))


@pytest.mark.parametrize("create", [sll_zoo.create_model, timm.create_model])
def test_the_large_network_of_the_paper_is_one_line(create):
    model = create("sll_large", pretrained=True)
    assert model.pretrained_cfg["tag"] == "cifar10"
    assert sum(parameter.numel() for parameter in model.parameters()) == read_records()["sll_large.cifar10"].parameters
    assert (len(model.convs), len(model.denses), model.config.width) == (50, 10, 90)
    folder = sll_zoo.create_model("sll_large.cifar10", pretrained=True).state_dict()
    assert all(torch.equal(value, folder[key]) for key, value in model.state_dict().items())


def test_the_families_differ_in_nothing_else():
    for name, config in ARCHITECTURES.items():
        if config.family in SORT_FAMILIES:
            continue
        like = f"sll_{name.partition('_')[2]}"
        assert (config, TAGS[name]) == (replace(ARCHITECTURES[like], family=config.family), TAGS[like])


# Every tag of one family, and one of every family.
@pytest.mark.parametrize("name", [*(f"sll_{size}.{tag}" for size in SIZES for tag in TAGS[f"sll_{size}"]), *FIRST_OF_EACH_FAMILY])
def test_every_tag_builds_for_its_data(name):
    with torch.device("meta"):
        model = timm.create_model(name)
    data = DATA_OF_TAG[name.partition(".")[2]]
    assert model.config.input_shape == data.input_size
    assert model.num_classes == data.num_classes
    assert model.config.mean == data.mean


def test_pretrained_weights_are_those_of_the_file_and_not_random(pretrained):
    again, fresh = sll_zoo.create_model("sll_nano", pretrained=True), sll_zoo.create_model("sll_nano")
    for key, value in pretrained.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
        if key != "center.mean":
            assert not torch.equal(fresh.state_dict()[key], value)


@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 4, 2), (8, (12, 20), 1000), (3, 32, 0)])
def test_channels_sizes_and_classes_are_free(channels, size, classes):
    model = timm.create_model("sll_nano", in_chans=channels, img_size=size, num_classes=classes)
    shape = (2, channels, *(size if isinstance(size, tuple) else (size, size)))
    assert model(torch.rand(shape)).shape == (2, classes or model.num_features)


def test_grey_images_get_the_grey_mean():
    with torch.device("meta"):
        assert sll_zoo.create_model("sll_small.cifar10", in_chans=1).config.mean == pytest.approx((0.4733,))


@pytest.mark.parametrize(
    ("name", "arguments", "error", "words"),
    [
        ("sll_nanno", {}, UnknownNameError, ["'sll_nanno'", "sll_nano", "sll_nano.digits", "CertifiedClassifier"]),
        ("resnet18", {}, UnknownNameError, ["'resnet18'", "sll_small"]),
        ("sll_small.cifar", {}, UnknownNameError, ["sll_small.cifar10"]),
        ("sll_medium", {"pretrained": True}, WeightsError, ["sll_medium.cifar10", "sll_nano.digits", "CertifiedClassifier"]),
        ("sll_small", {"features_only": True}, ConfigError, ["forward_intermediates"]),
        ("sll_small", {"kernel_size": 4}, ConfigError, ["kernel_size=4"]),
        ("sll_small", {"img_size": 30}, ConfigError, ["pool=4"]),
        ("sll_small", {"in_chans": 46}, ConfigError, ["width=45"]),
        ("sll_small", {"depth": 3}, ConfigError, ["depth", "conv_layers"]),
        ("sll_nano.digits", {"pretrained": True, "img_size": 16}, ConfigError, ["(1, 16, 16)", "(1, 8, 8)"]),
        ("sll_nano.digits", {"pretrained": True, "in_chans": 3}, ConfigError, ["(3, 8, 8)"]),
        ("sll_nano.", {}, UnknownNameError, ["sll_nano.digits"]),
        (None, {}, UnknownNameError, ["None"]),
        ("sll_small", {"img_size": 8.0}, ConfigError, ["img_size=(8.0, 8.0)"]),
        ("sll_small", {"mean": 0.5}, ConfigError, ["mean=0.5"]),
        ("sll_small", {"mean": (float("nan"),)}, ConfigError, ["mean=(nan,)"]),
        ("sll_small", {"family": ["sll"]}, UnknownNameError, ["family=['sll']"]),
        ("sll_nano.digits", {"pretrained": True, "mean": (0.9,)}, WeightsError, ["(0.9,)", "mean="]),
        ("sll_nano.digits", {"pretrained": True, "pretrained_cfg_overlay": {"url": "x"}}, ConfigError, ["hf_hub_id="]),
        ("hf-hub:a/b", {"features_only": True}, ConfigError, ["forward_intermediates"]),
        ("local-dir:/nowhere", {"pretrained": True}, WeightsError, ["/nowhere/config.json"]),
    ],
)
def test_mistakes_are_named_with_their_remedy(name, arguments, error, words):
    with pytest.raises(error) as caught:
        sll_zoo.create_model(name, **arguments)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(("name", "prefix"), [("last.ckpt", "ckpt"), ("saved", "local-dir")])
def test_the_path_of_weights_gets_its_prefix(tmp_path, name, prefix):
    path = tmp_path / name
    path.mkdir() if prefix == "local-dir" else path.touch()
    with pytest.raises(UnknownNameError, match=f"{prefix}:{path}"):
        sll_zoo.create_model(str(path), pretrained=True)


@pytest.mark.parametrize("name", ["", "x" * 300, "\0"], ids=["empty", "long", "null"])
def test_what_no_path_can_be_is_no_model_either(name):
    with pytest.raises(UnknownNameError, match="nearest:"):
        sll_zoo.create_model(name)


def test_timms_own_call_explains_a_wrong_tag_too():
    with pytest.raises(UnknownNameError, match=r"sll_small\.cifar10.*sll_nano\.digits.*CertifiedClassifier"):
        timm.create_model("sll_small.digits")


def test_a_new_head_on_pretrained_weights_warns_once_and_keeps_the_body(pretrained):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = sll_zoo.create_model("sll_nano.digits", pretrained=True, num_classes=3)
    assert [warning.category for warning in caught] == [UntrainedHeadWarning]
    assert " 3 " in str(caught[0].message)
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(model.forward_features(x), pretrained.forward_features(x))
    assert model(x).shape == (2, 3)


def test_features_of_pretrained_weights_need_no_warning(pretrained):
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(sll_zoo.create_model("sll_nano.digits", pretrained=True, num_classes=0)(x), pretrained.forward_features(x))


def test_a_bare_script_needs_only_the_import():
    script = "import timm, sll_zoo; print(type(timm.create_model('sll_nano.digits', pretrained=True)).__name__)"
    # Of pyparsing's warnings some are both; what Matplotlib does with it is nothing that a user sees.
    strict = ["-W", "error::UserWarning", "-W", "ignore::DeprecationWarning"]
    run = subprocess.run([sys.executable, *strict, "-c", script], capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.returncode) == ("LipNet", 0), run.stderr
