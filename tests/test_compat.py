"""Without an interface that nobody has promised to keep, the plain way gives the same."""

import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import sll_zoo
from sll_zoo import compat
from sll_zoo.errors import CheckpointError, ConfigError
from sll_zoo.functional.fast import products
from sll_zoo.functional.fast.gram import abs_gram_product, formula
from sll_zoo.functional.fast.reversible import residuals
from sll_zoo.layers import fold, is_folded, residual
from sll_zoo.training.callbacks import Interrupted
from tests import tolerances as tol
from tests.training.loop import EPOCH, signal_at, train, trainer
from tests.training.noisy import NoisyDigits


@pytest.fixture
def forget():
    """Let what was found out about oneDNN be found out anew, before and after."""
    compat.onednn_linear.cache_clear()
    yield
    compat.onednn_linear.cache_clear()


OTHERS = {
    "gone": None,
    "of other arguments": lambda x, weight: F.linear(x, weight),
    "of another result": lambda x, weight, bias, *_: F.linear(x, weight, bias) + 1,
    "of another type": lambda x, weight, bias, *_: F.linear(x, weight, bias).double(),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.usefixtures("forget")
def test_without_onednns_product_pytorchs_is_taken(other, monkeypatch):
    operation = OTHERS[other]
    namespace = SimpleNamespace(**({"_linear_pointwise": operation} if operation else {}))
    monkeypatch.setattr(torch.ops, "mkldnn", namespace, raising=False)
    x, weight, bias = torch.randn(5, 7), torch.randn(3, 7), torch.randn(3)
    assert compat.onednn_linear() is None
    assert torch.equal(products.linear(x, weight, bias), F.linear(x, weight, bias))


@pytest.mark.usefixtures("forget")
def test_onednns_product_is_that_of_pytorch_whatever_the_defaults_are():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = compat.onednn_linear()
    finally:
        torch.set_default_dtype(torch.float32)
    if found is None:
        pytest.skip("this PyTorch has none")
    x, weight, bias = torch.randn(5, 7), torch.randn(3, 7), torch.randn(3)
    torch.testing.assert_close(found(x, weight, bias), F.linear(x, weight, bias), rtol=0, atol=tol.FLOAT32)


@pytest.mark.processes
def test_a_signal_during_a_product_damages_nothing():
    # Without an alternative stack, as in a user's process, unlike pytest's.
    program = """
import signal, time, torch
from sll_zoo.functional.fast.products import linear
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
x, weight = torch.randn(43, 512), torch.randn(128, 512)
expected, end = linear(x, weight), time.monotonic() + 2
while time.monotonic() < end:
    assert torch.equal(linear(x, weight), expected)
signal.setitimer(signal.ITIMER_REAL, 0)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("version", ["v3.7.1", "v3.11.1", "none"])
@pytest.mark.usefixtures("forget")
def test_a_onednn_that_damages_memory_is_not_taken(version, monkeypatch):
    monkeypatch.setattr(torch.__config__, "show", lambda: f"  - Intel(R) MKL-DNN {version} (Git Hash 8d26)")
    assert compat.onednn_linear() is None


def test_where_transforms_cannot_be_seen_the_formula_is_executed(monkeypatch):
    weight, q = torch.randn(4, 6, dtype=torch.float64), torch.rand(4, dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    expected, stack = abs_gram_product(weight, one, q), sll_zoo.create_model("sll_nano").convs
    images = torch.rand(2, stack[0].weight.shape[1], 8, 8)
    ours = stack(images)
    monkeypatch.delattr(torch._C, "_are_functorch_transforms_active")
    torch.testing.assert_close(abs_gram_product(weight, one, q), expected, rtol=0, atol=tol.SAME)
    assert torch.equal(abs_gram_product(weight, one, q), formula(weight, one, q))
    torch.testing.assert_close(stack(images), ours, rtol=0, atol=tol.FLOAT32)
    # The last operation of the formula is a difference.
    assert [y.grad_fn.name() == "SubBackward0" for y in (ours, stack(images))] == [False, True]


@pytest.mark.parametrize("gone", ["global hooks", "hooks"])
def test_where_hooks_cannot_be_seen_each_layer_is_called(gone, monkeypatch):
    model, images = sll_zoo.create_model("sll_nano").double(), torch.rand(2, 1, 8, 8, dtype=torch.float64)
    expected, stacks = model(images), []
    monkeypatch.setattr(
        residual,
        "residuals",
        lambda x, layers, *more, **named: stacks.append(len(layers)) or residuals(x, layers, *more, **named),
    )
    model(images)
    assert stacks == [4, 1, 1, 1]
    if gone == "global hooks":
        monkeypatch.delattr(nn.modules.module, "_has_any_global_hook")
    else:
        monkeypatch.setattr(compat, "BACKWARD_HOOKS", ("_backward_hooks_of_another_torch",))
    assert compat.may_have_hooks(model.convs[0])
    torch.testing.assert_close(model(images), expected, rtol=0, atol=tol.SAME)
    assert stacks[4:] == [1] * 7


@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
@pytest.mark.parametrize("names", [compat.FORWARD_HOOKS, ("_hooks_of_another_torch",)])
def test_hooks_are_found_wherever_torch_keeps_them(names, register, monkeypatch):
    monkeypatch.setattr(compat, "FORWARD_HOOKS", names)
    model, images = sll_zoo.create_model("sll_nano").eval(), torch.rand(2, 1, 8, 8)
    assert is_folded(fold(model), torch.float32)
    sll_zoo.certify(model, images)
    hook = getattr(model.convs[1], register)(lambda *_: None)
    assert [compat.has_forward_hooks(layer) for layer in model.convs] == [False, True, False, False]
    with pytest.raises(ConfigError, match="hook"):
        sll_zoo.certify(model, images)
    hook.remove()
    assert not compat.has_forward_hooks(model.convs[1])


def test_a_torch_that_cannot_trace_any_more_is_not_asked(monkeypatch):
    monkeypatch.delattr(torch.jit, "is_tracing")
    assert not compat.graph_is_captured()


def test_a_lightning_that_cannot_be_told_to_begin_anew_trains_alike_and_does_not_go_on_amid_an_epoch(tmp_path, monkeypatch):
    data = {"images": 128 * EPOCH}
    whole = train(trainer(tmp_path / "whole"), NoisyDigits(**data))
    monkeypatch.setattr(compat, "FETCHER", "_fetcher_of_another_lightning")
    torch.testing.assert_close(train(trainer(tmp_path / "same"), NoisyDigits(**data)), whole, rtol=0, atol=0)
    for step, goes_on in ((EPOCH, True), (EPOCH + 1, False)):
        folder = tmp_path / str(step)
        with pytest.raises(Interrupted):
            train(trainer(folder, signal_at(step, signal.SIGTERM)), NoisyDigits(**data))
        if goes_on:
            torch.testing.assert_close(train(trainer(folder), NoisyDigits(**data), last=True), whole, rtol=0, atol=0)
        else:
            with pytest.raises(CheckpointError, match=r"batch 1 .*lightning==2\.6"):
                train(trainer(folder), NoisyDigits(**data), last=True)


def test_a_strategy_is_told_once_what_to_do_before_a_transfer_or_not_at_all(monkeypatch):
    class Strategy:
        def batch_to_device(self, batch):
            return batch

    done, strategy = [], Strategy()
    assert [compat.before_transfer(strategy, lambda: done.append(1)) for _ in range(2)] == [True, False]
    assert strategy.batch_to_device(5) == 5
    assert done == [1]
    monkeypatch.delattr(Strategy, "batch_to_device")
    assert not compat.before_transfer(Strategy(), list)


def test_a_device_of_which_torch_does_not_say_that_it_multiplies_bfloat16_does_not(monkeypatch):
    for answer in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda answer=answer: answer)
        assert compat.multiplies_bfloat16(torch.device("cpu")) is answer
    assert not compat.multiplies_bfloat16(torch.device("meta"))
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert not compat.multiplies_bfloat16(torch.device("cpu"))
