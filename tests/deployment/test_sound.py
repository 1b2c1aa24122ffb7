"""Files whose radii account for rounding, and weights of 8 bits in a file."""

import onnxruntime
import pytest
import torch

import sll_zoo
from sll_zoo.cli.main import main
from sll_zoo.deployment import export
from sll_zoo.deployment.sound import OWN_ROUNDING, require_kept
from sll_zoo.errors import ConfigError, ExportError
from tests import tolerances as tol
from tests.deployment.test_exporting import network
from tests.marks import slow_but
from tests.plants import sorting


@pytest.mark.parametrize(
    ("family", "size"),
    slow_but([("orthogonal", "tiny")], [("orthogonal", "tiny"), ("sll", "nano"), ("cpl", "small"), ("sll", "rnn_nano")]),
)
def test_a_sound_file_subtracts_for_rounding_what_a_frozen_network_does(family, size, tmp_path):
    model = network(family, size)
    export(model, tmp_path / "model.onnx", dtype=torch.float64, sound=True)
    require_sound(model, tmp_path / "model.onnx")


def test_a_sound_file_in_l_infinity(tmp_path):
    model = sorting(0.3)
    export(model, tmp_path / "model.onnx", dtype=torch.float64, sound=True)
    require_sound(model, tmp_path / "model.onnx")


def require_sound(model, path):
    images = torch.rand(64, *model.config.input_shape, dtype=torch.float64)
    images[0] = 2
    found = onnxruntime.InferenceSession(path).run(["radius", "slack"], {"images": images.numpy()})
    radius, slack = map(torch.from_numpy, found)
    assert radius[0] == slack[0] == 0
    radius, slack = radius[1:], slack[1:]
    expected = sll_zoo.certify(model, images[1:], sound=True)
    torch.testing.assert_close(radius + slack, expected.radius + expected.slack, rtol=0, atol=tol.SAME)
    proved = radius > 0
    assert proved.any()
    assert (slack >= (1 - tol.SLACK) * expected.slack)[proved].all()
    assert (slack <= 2 * expected.slack + 2 * OWN_ROUNDING).all()


def test_what_is_sound_in_float64_alone_says_so(tmp_path, capsys):
    assert main(["export", "sll_nano.digits", str(tmp_path / "model.onnx"), "--sound"]) == 2
    assert "float64" in capsys.readouterr().err
    assert main(["export", "sll_nano.digits", str(tmp_path / "model.onnx"), "--sound", "--dtype", "float64"]) == 0
    assert "slack (batch,)" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="sandwich"):
        export(network("sandwich"), tmp_path / "model.onnx", dtype=torch.float64, sound=True)


def test_a_factor_that_a_runtime_drops_is_refused():
    require_kept([("Mul", 1.0), ("Mul", 2.0), ("Add", 0.5), ("Sub", 0.0), ("Pow", 1e-9)])
    for operation, value in [("Mul", 1 - 1e-13), ("Div", 1 + 1e-9), ("Add", 1e-12), ("Sub", -1e-9)]:
        with pytest.raises(ExportError, match=operation):
            require_kept([(operation, value)])


@pytest.mark.parametrize("dtype", slow_but([torch.float64], [torch.float32, torch.float64]))
def test_weights_of_8_bits_are_stored_as_integers_and_stay_the_same_numbers(dtype, tmp_path):
    model = sll_zoo.create_model("sll_nano.digits", pretrained=True).eval()
    rounded = sll_zoo.quantize(model).eval()
    sizes = [export(each, tmp_path / "model.onnx", dtype=dtype).size for each in (model, rounded)]
    assert sizes[0] > (2.5 if dtype == torch.float32 else 4) * sizes[1]
    images = torch.rand(4, 1, 8, 8, dtype=dtype)
    tolerance = tol.SAME if dtype == torch.float64 else tol.FLOAT32
    (radius,) = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(["radius"], {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(radius).double(), sll_zoo.certify(rounded, images).radius, rtol=0, atol=tolerance)
