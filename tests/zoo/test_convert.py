"""What the released networks compute, from ``released.py``, is what the converted ones compute; anything else is refused."""

import os

import pytest
import torch

import sll_zoo
from sll_zoo.cli.main import main
from sll_zoo.errors import WeightsError
from sll_zoo.zoo.convert import convert_checkpoint
from tests.zoo.released import CLASSES, EDGE, current, first, logits, save

DATA = sorted(CLASSES)
SAME = 1e-10  # of logits near 1, float64 through a network


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.ckpt-1000.pth"


def images(data):
    return torch.rand(2, 3, EDGE[data], EDGE[data], dtype=torch.float64)


def expanded(*shape):
    """Return a tensor of one number, repeated: a file holds it once."""
    return torch.ones(1).expand(shape)


def difference(model, tensors, data):
    x = images(data)
    expected = logits(tensors, x, data)
    assert expected.std() > 0.01
    return (model.double()(x) - expected).abs().max().item()


@pytest.mark.parametrize("data", DATA)
def test_the_current_release_keeps_its_logits(path, data):
    tensors = current(data)
    model = convert_checkpoint(save(tensors, path))
    assert not model.training
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert difference(model, tensors, data) < SAME


# ε beside q of a million is beneath the tolerance.
@pytest.mark.parametrize(("data", "head"), [*((data, True) for data in DATA), ("cifar10", False)])
def test_the_first_release_keeps_its_logits_where_epsilon_does_not_count(path, data, head):
    tensors = first(data, head, scale=1e6)
    assert difference(convert_checkpoint(save(tensors, path)), tensors, data) < SAME


def test_the_first_release_differs_by_its_epsilon_where_that_counts(path):
    tensors = first("cifar10")
    tensors["model.layers_linear.1.q"][0] = 0
    assert SAME < difference(convert_checkpoint(save(tensors, path)), tensors, "cifar10") < 1e-5


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("prefix", ["module.", ""])
@pytest.mark.parametrize("make", [current, first])
def test_the_wrapper_and_the_prefix_make_no_difference(path, make, wrapped, prefix):
    tensors = make("cifar10")
    bare, usual = convert_checkpoint(save(tensors, path, wrapped, prefix)), convert_checkpoint(save(tensors, path))
    assert all(torch.equal(value, usual.state_dict()[key]) for key, value in bare.state_dict().items())


def test_a_truncation_is_certified_with_the_square_root_of_two(path):
    constants = convert_checkpoint(save(first("cifar10", head=False), path)).pairwise_lipschitz()
    assert torch.allclose(constants, 2**0.5 * (1 - torch.eye(10, dtype=torch.float64)), rtol=1e-15)


@pytest.mark.parametrize("sizes", [{"convs": 3, "denses": 1}, {"convs": 1, "denses": 3, "width": 5}, {"denses": 0}])
def test_sizes_are_read_from_the_shapes(path, sizes):
    model = convert_checkpoint(save(current("cifar100", **sizes), path))
    wanted = {"convs": 2, "denses": 2, "width": 4} | sizes
    assert (model.config.conv_layers, model.config.dense_layers, model.config.width) == tuple(wanted.values())
    assert (model.config.conv_inner, model.config.num_classes, model.config.img_size) == (3, 100, (32, 32))


def test_the_sizes_of_the_paper_get_their_name(path):
    tensors = current("cifar10", convs=30, denses=10, width=60, conv_inner=5, dense_inner=2048, draw=expanded)
    model = convert_checkpoint(save(tensors, path))
    assert path.stat().st_size < 1e6
    assert sum(parameter.numel() for parameter in model.parameters()) == sum(value.numel() for value in tensors.values())
    assert (model.pretrained_cfg["architecture"], model.pretrained_cfg["tag"]) == ("sll_medium", "cifar10")


def test_the_command_writes_a_folder_that_loads_and_can_be_published(path, tmp_path, capsys):
    save(current("tiny_imagenet"), path)
    out = tmp_path / "out"
    assert main(["convert", str(path), "--out", str(out)]) == 0
    assert "nothing measured" in capsys.readouterr().out
    model, loaded = convert_checkpoint(path), sll_zoo.create_model(f"local-dir:{out}", pretrained=True)
    assert loaded.config == model.config
    assert all(torch.equal(value.float(), loaded.state_dict()[key]) for key, value in model.state_dict().items())
    published = sll_zoo.publish(str(out), "org/name", dry_run=True)
    assert f"converted from their checkpoint `{path.name}`" in published.card
    assert "no certified accuracy of these weights was measured" in published.card


class Code:
    def __reduce__(self):
        return os.mkdir, ("made-by-a-checkpoint",)


def test_a_file_with_code_is_refused_and_not_run(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    torch.save({"model_state_dict": current("cifar10"), "optimizer_state_dict": Code()}, path)
    with pytest.raises(WeightsError, match="run code"):
        convert_checkpoint(path)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("size", [0, 1, 100, 5000, -100])
def test_a_truncated_file_is_refused(path, size):
    save(current("cifar10"), path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(WeightsError, match="no checkpoint"):
        convert_checkpoint(path)


@pytest.mark.parametrize("content", [b"<html>Not found</html>", b"PK\x03\x04", b"\x80\xffabc", bytes(1000)])
def test_a_file_that_is_no_checkpoint_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="no checkpoint"):
        convert_checkpoint(path)


def test_what_is_not_a_file_is_refused(path):
    for absent in (path, path.parent):
        with pytest.raises(WeightsError, match="not a file"):
            convert_checkpoint(absent)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([torch.zeros(1)], "no tensors"),
        ({"model_state_dict": {}}, "no tensors"),
        ({"model_state_dict": 3}, "no tensors"),
        ({"epoch": 3, "state_dict": {}}, "^'epoch'"),
        ({0: torch.zeros(1)}, "^0 "),
        ({"steps": torch.zeros(1, dtype=torch.long)}, "^'steps'"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "^'a'"),
        ({"a": torch.zeros(2, device="meta")}, "^'a'"),
        (
            {"conv1.weight": torch.zeros(3), "fc.bias": torch.zeros(3)},
            r"conv1\.weight, fc\.bias .*model\.model\.1\.bias",
        ),
    ],
)
def test_other_content_is_refused(path, content, words):
    torch.save(content, path)
    with pytest.raises(WeightsError, match=words):
        convert_checkpoint(path)


def put(key, value):
    return lambda tensors: tensors.update({key: value})


@pytest.mark.parametrize(
    ("make", "edit", "words"),
    [
        (current, lambda tensors: tensors.pop("model.model.2.q"), r"model\.model\.2\.q missing"),
        (current, lambda tensors: tensors.pop("model.model.7.weight"), r"model\.model\.6\.q, model\.model\.7\.bias left over"),
        (current, put("normalize.mean", torch.zeros(3)), r"normalize\.mean left over"),
        (current, put("model.model.5.weights", torch.zeros(3)), r"weights left over"),
        (
            current,
            lambda tensors: tensors["model.model.2.bias"].fill_(torch.inf),
            r"NaN.*module\.model\.model\.2\.bias",
        ),
        (
            current,
            lambda tensors: tensors["model.model.7.weight"][0, :1].fill_(torch.nan),
            r"NaN.*module\.model\.model\.7",
        ),
        (current, put("model.model.2.q", torch.zeros(4)), r"model\.model\.2\.q .*\(4,\).*\(3,\)"),
        (current, put("model.model.6.bias", torch.zeros(2, 3)), r"model\.model\.6\.bias .*\(2, 3\).*\(6,\)"),
        (current, put("model.model.1.kernel", torch.zeros(3, 4, 5, 5)), r"shape \(3, 4, 5, 5\)"),
        (current, put("model.model.5.weight", torch.zeros(6)), r"shape .*, \(6,\)"),
        (current, put("model.model.7.weight", torch.zeros(11, 256)), "11 .*256 .* 4: .*cifar10"),
        (current, lambda tensors: tensors["model.model.6.q"][0].add_(60), r"model\.model\.6\.q .* uneven"),
        (first, put("model.base.1.0.q", torch.ones(3)), r"model\.base\.1\.0\.q left over"),
        (first, lambda tensors: tensors.pop("model.last_last.bias"), r"model\.last_last\.bias missing"),
        (first, lambda tensors: tensors.pop("model.layers_linear.1.weights"), r"model\.layers_linear\.1\.weights missing"),
    ],
)
def test_tensors_of_no_released_network_are_refused(path, make, edit, words):
    tensors = make("cifar10")
    edit(tensors)
    with pytest.raises(WeightsError, match=words):
        convert_checkpoint(save(tensors, path))


@pytest.mark.parametrize(
    ("layer", "scale", "words"),
    [
        ("stable_block.1", 0.0, "zero"),
        ("layers_linear.2", 1e-4, r"[\d.]+%"),
        ("layers_linear.2", 0.0, "inf%"),
    ],
)
def test_a_q_of_the_first_release_that_is_too_small_is_refused(path, layer, scale, words):
    tensors = {name: value for name, value in first("cifar10").items() if ".base." not in name}
    tensors[f"model.{layer}.q"] *= scale
    with pytest.raises(WeightsError, match=rf"model\.{layer}\.q .* {words}"):
        convert_checkpoint(save(tensors, path))
