"""Convolutions to few channels by Triton's kernels, which its interpreter executes here; on an H200 they were seen to run."""

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

from sll_zoo.functional import fast
from sll_zoo.functional.fast import few_channels, reversible
from sll_zoo.functional.fast.few_channels import FewChannels, has_few_channels
from sll_zoo.functional.fast.reversible import Layer, residuals
from sll_zoo.functional.residual import residual
from tests import tolerances as tol

pytest.importorskip("triton")


@pytest.fixture(autouse=True)
def interpreted(monkeypatch):
    """Import the kernels for the interpreter, and past jaxtyping's hook: Triton reads the source of what it is given."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    name = "sll_zoo.functional.fast.triton_kernels"
    spec = spec_from_loader(name, SourceFileLoader(name, str(Path(fast.__file__).parent / "triton_kernels.py")))
    kernels = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, kernels)
    monkeypatch.setattr(fast, "triton_kernels", kernels, raising=False)
    spec.loader.exec_module(kernels)


def near(one, other):
    return one.shape == other.shape and (one - other).norm() <= tol.DERIVATIVE32 * other.norm()


@pytest.mark.parametrize(
    ("batch", "out", "channels", "size", "edge"),
    [
        (3, 5, 90, (8, 8), 3),
        (2, 5, 45, (5, 7), 3),
        (3, 2, 50, (6, 6), 5),
        (2, 20, 20, (1, 1), 1),
        (1, 1, 9, (1, 40), 3),
        (300, 1, 9, (2, 3), 3),
    ],
)
def test_they_are_those_of_pytorch(batch, out, channels, size, edge):
    kernel, x, y = (torch.randn(shape) for shape in ((out, channels, edge, edge), (batch, channels, *size), (batch, out, *size)))
    ours, padding = FewChannels(kernel), edge // 2
    adjoint = F.conv_transpose2d(y, kernel, padding=padding)
    assert near(ours.product(x), F.conv2d(x, kernel, padding=padding))
    assert near(ours.add_adjoint(x, y, 1, None), x + adjoint)
    assert near(ours.by_kernel(x, y), conv2d_weight(x, kernel.shape, y, padding=padding))
    assert near(ours.add_adjoint(x, y, -1, x), x)
    for images in (x, y):
        images.copy_(torch.randn_like(images))
    strided = [images.contiguous(memory_format=torch.channels_last) for images in (x, y)]
    assert torch.equal(ours.product(strided[0]), ours.product(x))
    assert torch.equal(ours.add_adjoint(*strided, 1, None), ours.add_adjoint(x, y, 1, None))
    assert torch.equal(ours.by_kernel(*strided), ours.by_kernel(x, y))


def test_the_adjoint_is_written_where_it_should():
    ours, x, y = FewChannels(torch.randn(2, 20, 3, 3)), torch.randn(3, 20, 4, 4), torch.randn(3, 2, 4, 4)
    expected, out = ours.add_adjoint(x, y, 1, None), torch.empty_like(x)
    for place in (out, x):
        assert ours.add_adjoint(x, y, 1, place).data_ptr() == place.data_ptr()
        assert torch.equal(place, expected)


@pytest.mark.parametrize("depth", [1, 3])
def test_layers_made_of_them_are_the_formula(depth, monkeypatch):
    monkeypatch.setattr(reversible, "has_few_channels", lambda _: True)
    layers = [Layer(torch.randn(2, 20, 3, 3), torch.randn(2), torch.rand(2) / 100) for _ in range(depth)]
    x = torch.randn(4, 20, 6, 6).contiguous(memory_format=torch.channels_last)
    inputs = [tensor.requires_grad_() for tensor in (x, *(tensor for layer in layers for tensor in layer))]
    y = exact = x
    y = residuals(x, layers)
    for layer in layers:
        exact = residual(exact, *layer)
    assert near(y, exact)
    grad = torch.randn_like(y)
    for one, other in zip(torch.autograd.grad(y, inputs, grad), torch.autograd.grad(exact, inputs, grad), strict=True):
        assert near(one, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_a_gpu_none_is_taken(dtype):
    assert not has_few_channels(torch.zeros(5, 90, 3, 3, dtype=dtype))


def test_on_a_gpu_where_triton_does_not_work_none_is_taken(monkeypatch):
    executes, device = few_channels._executes_kernels.__wrapped__, torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    assert not executes(device)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    assert executes(device)

    def fail(*_):
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(FewChannels, "product", fail)
    with pytest.warns(UserWarning, match="C compiler"):
        assert not executes(device)


@pytest.mark.parametrize(
    ("shape", "dtype", "taken"),
    [
        ((5, 90, 3, 3), torch.bfloat16, True),
        ((5, 45, 3, 3), torch.float16, True),
        ((5, 90, 3, 3), torch.float32, False),
        ((5, 44, 3, 3), torch.bfloat16, False),
        ((64, 128, 1, 1), torch.bfloat16, True),
        ((65, 128, 1, 1), torch.bfloat16, False),
        ((5, 129, 3, 3), torch.bfloat16, False),
    ],
)
def test_on_a_gpu_those_that_a_program_can_hold_are_taken(shape, dtype, taken, monkeypatch):
    class OnGPU(torch.Tensor):
        device = torch.device("cuda", 0)

    monkeypatch.setattr(few_channels, "_executes_kernels", lambda _: True)
    assert has_few_channels(torch.zeros(shape, dtype=dtype).as_subclass(OnGPU)) == taken
