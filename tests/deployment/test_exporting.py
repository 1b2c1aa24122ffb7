import json
import shutil
import sys
from itertools import product

import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import sll_zoo
from sll_zoo.cli.main import main
from sll_zoo.deployment import checking, export, formats
from sll_zoo.deployment.plain import in_plain_operations
from sll_zoo.errors import ConfigError, ExportError, WeightsError
from sll_zoo.layers import FAMILIES, Householder, SLLConv2d, SLLLinear, fold
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.config import SORT_FAMILIES
from sll_zoo.zoo.folder import CHECKPOINTS
from sll_zoo.zoo.records.record import read_records
from tests import tolerances as tol
from tests.marks import slow_but
from tests.plants import sorting

SHAPE = {"width": 4, "conv_layers": 1, "conv_inner": 3, "dense_layers": 1, "dense_inner": 5, "pool": 2, "img_size": (8, 6)}
SIZES = {
    "nano": SHAPE,
    "medium": SHAPE | {"pool": 1, "downsample": 2},
    "small": SHAPE | {"conv_layers": 2, "window": 2},
    "rnn_nano": {"width": 4, "cell_layers": 2, "cell_inner": 3, "dense_layers": 1, "dense_inner": 5, "img_size": (8, 6)},
    "tiny": SHAPE | {"width": 8, "patch": 2, "dct": True, "pool": 1},
    "convnet_xs": {"width": 4, "blocks": 2, "block_layers": 1, "img_size": (8, 12)},
}


# Networks in L∞ have families and settings of their own.
SORTED = {"width": 6, "img_size": (8, 6)}


def network(family, size="nano"):
    """Return a small network with every parameter away from its initial value."""
    settings = SORTED if family in SORT_FAMILIES else SIZES[size]
    model = sll_zoo.create_model(f"{family}_{size}", **settings, in_chans=2, num_classes=4)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def executed(path, images):
    """Return what a file makes of images, with nothing of this package."""
    if path.suffix == ".pt2":
        outputs = torch.export.load(path).module()(images)
        return outputs["logits"], outputs["radius"]
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return tuple(torch.from_numpy(output) for output in session.run(["logits", "radius"], {"images": images.numpy()}))


@pytest.mark.parametrize("by_products", [False, True])
@pytest.mark.parametrize(("family", "size"), [*product(FAMILIES, SIZES), *product(SORT_FAMILIES, ["nano", "tiny"])])
def test_plain_operations_compute_the_same_network_in_every_family(family, size, by_products):
    folded = fold(network(family, size), torch.float64)
    plain = in_plain_operations(folded, by_products)
    images = torch.rand(3, *folded.config.input_shape, dtype=torch.float64)
    torch.testing.assert_close(plain(images), folded(images), rtol=0, atol=tol.SAME)
    assert plain(images[:0]).shape == (0, 4)
    assert not any(tensor.is_complex() for tensor in plain.state_dict().values())


# One of each form of a folded layer; that every family is the same network in plain operations, the test above says.
@pytest.mark.parametrize("suffix", formats.FORMATS)
@pytest.mark.parametrize("family", slow_but(("sll", "orthogonal", "sandwich"), FAMILIES))
def test_the_file_certifies_as_the_package_does_for_any_batch(family, suffix, tmp_path):
    model = network(family)
    export(model, tmp_path / f"model{suffix}")
    for batch in (0, 1, 5):
        images = torch.rand(batch, 2, 8, 6)
        logits, radius = executed(tmp_path / f"model{suffix}", images)
        certificate = sll_zoo.certify(model, images)
        assert (logits.shape, radius.shape) == ((batch, 4), (batch,))
        torch.testing.assert_close(logits.double(), fold(model, torch.float64)(images.double()), rtol=0, atol=tol.FLOAT32)
        assert torch.equal(logits.argmax(1), certificate.prediction)
        torch.testing.assert_close(radius.double(), certificate.radius, rtol=0, atol=tol.FLOAT32)


@pytest.mark.parametrize(
    ("size", "suffix"),
    slow_but(
        [("tiny", ".onnx"), ("small", ".pt2"), ("convnet_xs", ".pt2"), ("rnn_nano", ".onnx")],
        product(("tiny", "small", "convnet_xs", "rnn_nano"), formats.FORMATS),
    ),
)
def test_networks_of_every_shape_are_exported_in_float64_too(size, suffix, tmp_path):
    model = network("orthogonal", size)
    export(model, tmp_path / f"model{suffix}", dtype=torch.float64)
    for batch in (0, 2):
        images = torch.rand(batch, *model.config.input_shape, dtype=torch.float64)
        _, radius = executed(tmp_path / f"model{suffix}", images)
        torch.testing.assert_close(radius, sll_zoo.certify(model, images).radius, rtol=0, atol=tol.SAME)


def test_layers_that_no_named_model_has_are_exported_as_well(tmp_path):
    model = network("sll")
    model.convs.append(SLLConv2d(4, 3, bias=False, padding_mode="circular"))
    model.denses.append(nn.Sequential(SLLLinear(48, 3, activation="tanh"), Householder(48)))
    assert export(model, tmp_path / "model.onnx").error < checking.TOLERANCE[torch.float32]
    folded, images = fold(model, torch.float64), torch.rand(2, 2, 8, 6, dtype=torch.float64)
    for by_products in (False, True):
        torch.testing.assert_close(in_plain_operations(folded, by_products)(images), folded(images), rtol=0, atol=tol.SAME)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("suffix", formats.FORMATS)
@pytest.mark.parametrize("rho", [0.0, 0.3])
def test_networks_in_l_infinity_are_exported_and_the_file_says_the_norm(rho, suffix, dtype, tmp_path):
    model = sorting(rho)
    export(model, tmp_path / f"model{suffix}", dtype=dtype)
    for batch in (0, 1, 5):
        images = torch.rand(batch, *model.config.input_shape, dtype=dtype)
        _, radius = executed(tmp_path / f"model{suffix}", images)
        tolerance = tol.SAME if dtype == torch.float64 else tol.FLOAT32
        torch.testing.assert_close(radius.double(), sll_zoo.certify(model, images).radius, rtol=0, atol=tolerance)
    described = metadata(tmp_path / f"model{suffix}")
    assert (described["norm"], described["radius"][:14]) == ("Linf", "Linf distance ")


class Inverse(nn.Module):
    """A product with a matrix that only PyTorch can compute."""

    def forward(self, x):
        return torch.linalg.pinv(torch.eye(8).to(x)) @ x


@pytest.mark.parametrize(
    ("layer", "dtype", "words"), [(Inverse(), torch.float32, "pinv"), (nn.Conv2d(4, 4, 1), torch.float64, "Conv")]
)
def test_a_layer_that_onnx_or_its_runtime_does_not_have_is_named(layer, dtype, words, tmp_path, monkeypatch):
    model = network("sll")
    model.convs.append(layer)
    monkeypatch.setattr(LipschitzClassifier, "require_structure", lambda _: None)  # there is no such layer that is known
    with pytest.raises(ExportError, match=words):
        export(model, tmp_path / "model.onnx", dtype=dtype)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", slow_but([".onnx"], formats.FORMATS))
def test_the_command_writes_a_file_with_the_radii_that_certify_finds(suffix, pretrained, digits, tmp_path, capsys):
    path = tmp_path / f"new/digits{suffix}"
    assert main(["export", "sll_nano.digits", str(path), "--dtype", "float64"]) == 0
    told = capsys.readouterr().out
    assert f"{path}: " in told
    assert "one image: " in told
    images, _ = digits.tensors("test")
    logits, radius = executed(path, images.double())
    certificate = sll_zoo.certify(pretrained, images)
    assert torch.equal(logits.argmax(1), certificate.prediction)
    torch.testing.assert_close(radius, certificate.radius, rtol=0, atol=1e-10)
    described = metadata(path)
    assert described["weights_sha256"] == read_records()["sll_nano.digits"].sha256
    assert (described["model"], json.loads(described["classes"])) == ("sll_nano.digits", list("0123456789"))
    assert described["norm"] == "L2"
    assert "exact arithmetic" in described["radius"]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert b"site-packages" not in path.read_bytes()  # nor any other path of the machine that wrote it
    refused = images[:4].double()
    refused[0, 0, 0, 0], refused[1, 0, 0, 0], refused[2, 0, 0, 0] = torch.nan, 1.01, -0.01
    assert executed(path, refused)[1].gt(0).tolist() == [False, False, False, True]


def metadata(path):
    if path.suffix == ".pt2":
        found = {formats.METADATA_FILE: ""}
        torch.export.load(path, extra_files=found)
        return json.loads(found[formats.METADATA_FILE])
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_a_file_names_the_classes_of_the_folder_that_its_model_is_from(tmp_path):
    shutil.copytree(CHECKPOINTS / "sll_nano.digits", tmp_path / "mine")
    config = json.loads((tmp_path / "mine/config.json").read_text())
    (tmp_path / "mine/config.json").write_text(json.dumps(config | {"label_names": list("abcdefghij")}))
    model = sll_zoo.create_model(f"local-dir:{tmp_path / 'mine'}", pretrained=True)
    export(model, tmp_path / "model.pt2")
    assert json.loads(metadata(tmp_path / "model.pt2")["classes"]) == list("abcdefghij")


def test_a_file_that_disagrees_is_not_left_behind(monkeypatch, tmp_path):
    (tmp_path / "model.pt2").write_text("the one before")
    monkeypatch.setitem(checking.TOLERANCE, torch.float32, 1e-9)
    with pytest.raises(ExportError, match=r"logits .*float64"):
        export(network("sll"), tmp_path / "model.pt2")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("model.pt2", "the one before")]


LIES = {
    "logits off": lambda logits, radius: (logits * 1.001, radius),
    "logits off by nan": lambda logits, radius: (logits * torch.nan, radius),
    "radii off": lambda logits, radius: (logits, radius * 1.001),
    "radii off by inf": lambda logits, radius: (logits, radius * torch.inf),
    "outputs of shapes": lambda logits, radius: (logits, radius[:, None]),
}


@pytest.mark.parametrize("words", LIES)
def test_every_disagreement_is_found(words):
    folded = fold(network("sll"), torch.float64)

    def run(images):
        return dict(zip(("logits", "radius"), LIES[words](folded(images), sll_zoo.certify(folded, images).radius), strict=True))

    with pytest.raises(ExportError, match=words):
        checking.compare(run, folded, torch.float64)


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("model.txt", "'.txt'"),
        ("model", "''"),
        (".", "sll-zoo: . "),
        ("/dev/null/model.pt2", "/dev/null "),
    ],
)
def test_a_place_that_cannot_be_written_to_is_refused_before_the_model_is_looked_for(out, words, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "nothing", out]) == 2
    assert words in capsys.readouterr().err


def test_onnx_without_its_packages_is_refused_before_the_model_is_looked_for(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert main(["export", "nothing", str(tmp_path / "model.onnx")]) == 2
    assert 'pip install "sll_zoo[onnx]"' in capsys.readouterr().err
    assert main(["export", "nothing", str(tmp_path / "model.pt2")]) == 2
    assert "'nothing'" in capsys.readouterr().err


def test_what_has_no_certificate_is_not_exported(monkeypatch, tmp_path):
    model = network("sll")
    with pytest.raises(ConfigError, match="bfloat16"):
        export(model, tmp_path / "model.pt2", dtype=torch.bfloat16)
    monkeypatch.setattr(formats, "LARGEST_ONNX", 1000)
    with pytest.raises(ExportError, match="GiB"):
        export(model, tmp_path / "model.onnx")
    with torch.no_grad():
        model.convs[0].weight[0, 0] = torch.nan
    with pytest.raises(WeightsError, match=r"NaN.*convs\.0\.weight"):
        export(model, tmp_path / "model.pt2")
    model.reset_classifier(0)
    with pytest.raises(ConfigError, match="num_classes=0"):
        export(model, tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []
