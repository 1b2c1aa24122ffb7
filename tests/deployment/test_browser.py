"""The files of the page on which a browser runs a network; what it shows, tests/website/test_try.py says."""

import json
import shutil
import signal
import subprocess
import sys
from urllib.request import urlopen

import pytest
import torch

import sll_zoo
from sll_zoo.deployment import export
from sll_zoo.deployment.browser import runtime, server_of, write_exported, write_network
from sll_zoo.deployment.browser.gradient import gradient_program
from sll_zoo.errors import ConfigError, ExportError, InputError
from sll_zoo.models import LipschitzClassifier
from tests import tolerances as tol
from tests.deployment.test_exporting import network
from tests.marks import slow_but
from tests.plants import sorting

NETWORKS = {
    "sll": lambda: network("sll"),
    "windows": lambda: network("cpl", "small"),
    "circular": lambda: network("bro", "tiny"),
    "sandwich": lambda: network("sandwich"),
    "recurrent": lambda: network("sll", "rnn_nano"),
    "downsampling": lambda: network("aol", "convnet_xs"),
    "Linf": lambda: sorting(0.3),
}


@pytest.mark.parametrize("kind", slow_but(("sll", "Linf"), NETWORKS))
def test_the_graph_gives_the_gradient_of_a_weighted_sum_of_logits(kind):
    model: LipschitzClassifier = NETWORKS[kind]()
    run = gradient_program(model).module()
    images = torch.rand(1, *model.config.input_shape, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(1, model.num_classes, dtype=torch.float64)
    logits = sll_zoo.fold(model, torch.float64)(images)
    (expected,) = torch.autograd.grad((logits * weights).sum(), images)
    found = run(images.detach().float(), weights.float())
    torch.testing.assert_close(found["logits"].double(), logits.detach(), rtol=0, atol=tol.FLOAT32)
    torch.testing.assert_close(found["gradient"].double(), expected, rtol=0, atol=tol.FLOAT32)


def test_a_network_of_sequences_and_files_of_others_are_refused(tmp_path):
    model = sll_zoo.create_model("sll_rnn_nano.digits_by_pixel", pretrained=True).eval()
    with pytest.raises(InputError, match="digits_by_pixel"):
        write_network(tmp_path / "network", model, "digits_by_pixel")
    with pytest.raises(InputError, match=r"nowhere\.onnx does not exist"):
        write_exported(tmp_path / "network", tmp_path / "nowhere.onnx")
    (tmp_path / "other.onnx").write_text("something else")
    with pytest.raises(ExportError, match=r"other\.onnx"):
        write_exported(tmp_path / "network", tmp_path / "other.onnx")
    export(model, tmp_path / "sequence.onnx")
    with pytest.raises(InputError, match=r"sequence\.onnx"):
        write_exported(tmp_path / "network", tmp_path / "sequence.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.onnx", "sequence.onnx"]


def test_an_exported_file_is_described_by_its_metadata(tmp_path):
    export(sorting(0.3), tmp_path / "mine.onnx", name="mine")
    write_exported(tmp_path / "network", tmp_path / "mine.onnx")
    described = json.loads((tmp_path / "network/network.json").read_text("utf-8"))
    model = sorting(0.3)
    assert described["shape"] == list(model.config.input_shape)
    assert len(described["classes"]) == model.num_classes
    assert (described["norm"], described["dtype"], described["sound"]) == ("Linf", "float32", False)


def test_a_runtime_with_another_checksum_is_refused_and_one_that_cannot_be_had_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match="npm, which is not installed"):
        runtime.runtime_files()
    archive = tmp_path / "cache/sll_zoo" / runtime.ARCHIVE
    archive.parent.mkdir(parents=True)
    archive.write_bytes(b"something else")
    with pytest.raises(ExportError, match=runtime.SHA256):
        runtime.runtime_files()
    assert list(archive.parent.iterdir()) == [archive]


def test_a_port_that_is_taken_is_named(tmp_path):
    with server_of(tmp_path, 0) as server, pytest.raises(ConfigError, match=str(server.server_port)):
        server_of(tmp_path, server.server_port)
    with pytest.raises(ConfigError, match="70000"):
        server_of(tmp_path, 70000)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="onnxruntime-web comes by npm")
def test_the_command_serves_the_page_until_it_is_interrupted(tmp_path):
    command = [sys.executable, "-m", "sll_zoo", "serve", "sll_nano.digits", "--port", "0"]
    # A shell starts what runs in its background deaf to SIGINT, and children inherit that.
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, **heard) as process:
        address = next(line for line in process.stdout if line.startswith("http")).split()[0]
        with urlopen(f"{address}networks.json") as answer:  # noqa: S310 - of this machine
            assert json.load(answer) == {"networks": ["sll_nano.digits"]}
        for name in ("", "page.js", "runtime/ort.wasm.min.mjs", "networks/sll_nano.digits/network.onnx"):
            with urlopen(address + name) as answer:  # noqa: S310 - of this machine
                assert answer.read(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
