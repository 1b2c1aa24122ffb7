"""Packed weights: rounded once, certified as they are, and the same to the bit wherever they go."""

import json

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from lightning import Trainer

import sll_zoo
from sll_zoo.errors import ConfigError, InputError, UntrainedHeadWarning, WeightsError
from sll_zoo.layers import FAMILIES
from sll_zoo.zoo.folder import CHECKPOINTS
from sll_zoo.zoo.publishing.save import save_pretrained
from sll_zoo.zoo.weights.packing import BITS, LARGE, SCALE, pack, unpack, widths
from sll_zoo.zoo.weights.reading import CONFIG_FILE
from sll_zoo.zoo.weights.shards import WEIGHTS_FILE
from tests.tolerances import GAIN

NAME = "sll_nano.digits"
LABELS = list("0123456789")
PACKED = [bits for bits in BITS if bits < 16]
# Rows of many sizes, of zeros, of subnormal numbers, and of the largest that there may be.
SIZES = torch.tensor([1.0, 0.0, 1e-3, 1e-30, 1e-38, 1e-40, 1e-45, 1e20, 2.0**126])


def rows(n):
    sizes = SIZES.repeat(-(-LARGE // (n * len(SIZES))))
    weight = torch.rand(len(sizes), n).mul_(2).sub_(1)
    weight[:, 0] = 1
    return weight * sizes[:, None]


def save(model, folder, bits):
    quantized = sll_zoo.quantize(model, bits)
    return quantized, save_pretrained(quantized, folder, label_names=LABELS, bits=bits)


def same(one, other):
    return all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


@pytest.fixture
def packed(pretrained, tmp_path):
    """A folder with the shipped weights in 6 bits, without a record that would notice what a test spoils."""
    save(pretrained, tmp_path / "packed", 6)
    config = json.loads((tmp_path / "packed" / CONFIG_FILE).read_text())
    del config["certified"]
    (tmp_path / "packed" / CONFIG_FILE).write_text(json.dumps(config))
    return tmp_path / "packed"


@pytest.mark.parametrize("n", [2, 3, 5, 8, 13])
@pytest.mark.parametrize("bits", PACKED)
def test_a_row_is_a_stream_of_integers_that_another_program_reads(bits, n):
    weight = rows(n)
    packed = pack({"w": weight}, bits)
    assert packed["w"].shape == (len(weight), -(-n * bits // 8))
    stream = np.unpackbits(packed["w"].numpy(), axis=1)
    codes = stream[:, : n * bits].reshape(-1, n, bits) @ 2 ** np.arange(bits)[::-1]
    assert not stream[:, n * bits :].any()
    expected = (codes - (2 ** (bits - 1) - 1)) * packed["w" + SCALE].double().numpy()[:, None]
    assert (unpack(packed, {"w": weight}, bits)["w"].double().numpy() == expected).all()


@pytest.mark.parametrize("bits", PACKED)
def test_a_weight_moves_by_half_a_scale_at_most_and_rounding_again_moves_none(bits):
    weight = rows(200).view(-1, 2, 10, 10)
    packed = pack({"w": weight}, bits)
    rounded = unpack(packed, {"w": weight}, bits)
    assert rounded["w"].shape == weight.shape
    error = (rounded["w"].double() - weight.double()).abs().flatten(1).amax(1)
    assert (error <= packed["w" + SCALE].double() / 2).all()
    again = pack(rounded, bits)
    assert all(torch.equal(again[key], value) for key, value in packed.items())


@pytest.mark.parametrize(("bits", "small"), [(4, 8), (6, 8), (8, 8), (16, 16)])
def test_small_tensors_have_eight_bits_at_least(bits, small):
    state = {"large": torch.randn(64, LARGE // 64), "small": torch.randn(63, LARGE // 64)}
    assert widths(state, bits) == {"large": bits, "small": small}
    packed = pack(state, bits)
    assert [packed[key][0].nbytes * 8 // (LARGE // 64) for key in state] == [bits, small]


def test_only_rows_of_several_numbers_are_rounded():
    state = {"b": torch.rand(3), "mean": torch.rand(3, 1, 1), "norm": torch.rand(())}
    for bits in BITS:
        assert pack(state, bits) == state


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -3.4e38])
@pytest.mark.parametrize("bits", [8, 16])
def test_weights_that_have_no_scale_are_refused(bits, value):
    with pytest.raises(WeightsError, match=r"head\.weight .*NaN"):
        pack({"head.weight": torch.tensor([[1.0, value]])}, bits)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_quantised_network_keeps_its_claim_and_comes_back_from_its_file_to_the_bit(family, tmp_path):
    model = sll_zoo.create_model(f"{family}_nano.digits", conv_layers=1, conv_inner=3, dense_layers=1, dense_inner=5, width=2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    quantized, record = save(model, tmp_path, 4)
    assert same(quantized, sll_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True))
    found = sll_zoo.audit(quantized)
    assert (found.problems, found.constant <= 1 + GAIN, record.bits) == ([], True, 4)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    changed = {key for key, value in quantized.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {key for key in before if key.endswith("weight")}


def test_a_folded_network_is_refused_as_its_rescaling_is_of_other_weights(pretrained):
    for model in (sll_zoo.fold(pretrained), sll_zoo.fold(sll_zoo.create_model("aol_nano.digits"))):
        with pytest.raises(InputError, match=r"convs\.0.* Folded"):
            sll_zoo.quantize(model)


@pytest.mark.parametrize("bits", [1, 5, 0, 8.0, "8", True, None])
def test_a_number_of_bits_that_there_is_not_is_refused(pretrained, tmp_path, bits):
    with pytest.raises(ConfigError, match=f"bits={bits!r}: .*4, 6, 8, 16, 32"):
        sll_zoo.quantize(pretrained, bits)
    with pytest.raises(ConfigError, match=f"bits={bits!r}:"):
        save_pretrained(pretrained, tmp_path, label_names=LABELS, bits=bits)


def test_eight_bits_cost_the_digits_next_to_nothing_and_take_a_quarter_of_the_file(pretrained, digits, tmp_path):
    quantized, record = save(pretrained, tmp_path, 8)
    batches = [digits.tensors("test")]
    before, after = sll_zoo.evaluate(pretrained, batches), sll_zoo.evaluate(quantized, batches)
    assert after.certified[36 / 255] >= before.certified[36 / 255] - 0.005
    assert 0.25 <= record.size / (CHECKPOINTS / NAME / WEIGHTS_FILE).stat().st_size <= 0.27


def test_weights_that_were_not_rounded_are_not_packed(pretrained, tmp_path):
    for bits in (8, 16):
        with pytest.raises(WeightsError, match=rf"quantize\(model, bits={bits}\)"):
            save_pretrained(pretrained, tmp_path / "out", label_names=LABELS, bits=bits)
    assert not (tmp_path / "out").exists()


def spoil(folder, edit, bits="6"):
    state = safetensors.torch.load_file(folder / WEIGHTS_FILE)
    edit(state)
    safetensors.torch.save_file(state, folder / WEIGHTS_FILE, {"bits": bits})


def put(key, change):
    return lambda state: state.__setitem__(key, change(state[key]))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (
            put("denses.0.weight", lambda w: w[:, 1:].contiguous()),
            r"weight .*\(128, 383\) .*torch.uint8 .*\(128, 384\) .* as 6 bits",
        ),
        (
            put("head.weight", lambda w: w[:, 1:].contiguous()),
            r"head.weight .*\(10, 511\) .*torch.uint8 .*\(10, 512\) .* as 8 bits",
        ),
        (put("head.weight", lambda w: w[1:].contiguous()), r"head.weight .*\(9, 512\) .*torch.uint8"),
        (put("head.weight", lambda w: w.float()), r"head.weight .*\(10, 512\) .*torch.float32"),
        (put("head.weight.scale", lambda s: s.float()), r"head.weight.scale .*\(10,\) .*torch.float32"),
        (put("head.weight.scale", lambda s: s[1:].contiguous()), r"head.weight.scale .*\(9,\)"),
        (put("head.weight.scale", lambda s: s * torch.nan), "NaN.*head.weight.scale"),
        (put("head.weight.scale", lambda s: s * 0), "head.weight.scale .*no scales"),
        (put("head.weight.scale", lambda s: -s), "no scales"),
        (put("head.weight.scale", lambda s: s * 1e-39), "no scales"),
        (put("head.weight.scale", lambda s: s * 0 + 2.0**125), "no scales"),
        (lambda state: state.pop("head.weight.scale"), "head.weight.scale .*absent"),
        (lambda state: state.pop("head.weight"), "head.weight .*absent"),
        (lambda state: state.pop("head.bias"), "head.bias .*absent"),
        (put("head.bias", lambda b: b.byte()), "head.bias .*torch.uint8"),
        (lambda state: state.update(extra=torch.zeros(1).byte()), "extra .*torch.uint8 .*absent"),
        (lambda state: state.update({"head.bias.scale": torch.ones(10)}), "head.bias.scale .*absent"),
    ],
)
def test_a_packed_file_that_is_not_one_is_refused_with_its_reason(packed, edit, words):
    spoil(packed, edit)
    with pytest.raises(WeightsError, match=words):
        sll_zoo.create_model(f"local-dir:{packed}", pretrained=True)


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        ("8", "torch.uint8 .* 8 bits"),
        ("16", "torch.bfloat16 .* 16 bits"),
        ("32", "is torch.uint8 "),
        ("5", "'5' .*4, 6, 8, 16, 32: .*sll-zoo quantize"),
        ("1", "'1' .*4, 6, 8"),
        ("six", "'six' .*4, 6, 8"),
        ("6" * 10_000, "'6{20}' .*4, 6, 8"),
    ],
)
def test_a_file_that_states_other_bits_is_refused(packed, bits, words):
    sll_zoo.create_model(f"local-dir:{packed}", pretrained=True)
    spoil(packed, dict.copy, bits)
    with pytest.raises(WeightsError, match=words):
        sll_zoo.create_model(f"local-dir:{packed}", pretrained=True)


def test_a_record_of_other_bits_than_the_files_is_refused(pretrained, tmp_path):
    save(pretrained, tmp_path, 8)
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    for bits, words in ((4, "'8' .* 4 "), (5, "bits=5: .*4, 6, 8, 16, 32")):
        config["certified"]["bits"] = bits
        (tmp_path / CONFIG_FILE).write_text(json.dumps(config))
        with pytest.raises(WeightsError, match=words):
            sll_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True)


def test_a_packed_file_that_is_cut_off_is_refused(packed):
    content = (packed / WEIGHTS_FILE).read_bytes()
    (packed / WEIGHTS_FILE).write_bytes(content[:-1])
    with pytest.raises(WeightsError, match="not a safetensors file"):
        sll_zoo.create_model(f"local-dir:{packed}", pretrained=True)


def test_packed_weights_are_trained_further_and_take_another_head(packed, digits):
    name = f"local-dir:{packed}"
    task = sll_zoo.CertifiedClassifier(name, pretrained=True)
    start = sll_zoo.create_model(name, pretrained=True)
    Trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0, accelerator="cpu", logger=False,
            enable_checkpointing=False).fit(task, datamodule=digits)  # fmt: skip
    assert {parameter.dtype for parameter in task.model.parameters()} == {torch.float32}
    assert not torch.equal(task.model.denses[0].weight, start.denses[0].weight)
    with pytest.warns(UntrainedHeadWarning):
        other = sll_zoo.create_model(name, pretrained=True, num_classes=3)
    assert torch.equal(other.denses[0].weight, start.denses[0].weight)
