"""The laws that every 1-Lipschitz layer obeys; each raises AssertionError for a layer that breaks it.

A law takes a ``Subject``; ``test_laws.py`` applies all to every family, ``test_laws_can_fail.py`` shows that each can refuse.
Gains and stretches are in the subject's norm; the laws of ``IN_L2`` are about T, which a layer in L∞ does not have.
"""

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from sll_zoo.functional.norms import lengths
from sll_zoo.layers import Recurrent, fold
from sll_zoo.layers.circular import StoredMatrices
from tests import tolerances as tol
from tests.extremes import EXTREMES
from tests.operators import grams, linear_matrix


@dataclass(frozen=True)
class Subject:
    """How to make a layer, and the shape of one input."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    channels: int | None = None  # channels of the output, if they differ from the input's
    norm: str = "2"

    def layer(self, seed=0):
        """Return a layer in float64 with every parameter away from its initial value."""
        torch.manual_seed(seed)
        layer = self.make().double()
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.add_(0.5 * torch.randn_like(parameter))
        return layer

    def folded(self, layer):
        """Return a layer folded for inputs of the subject's shape."""
        return fold(layer, size=self.shape[1:] or None)

    def inputs(self, batch=3, seed=1, scale=1.0):
        return scale * torch.randn(batch, *self.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def train(layer, inputs, steps=20):
    """Change the weights as a training does."""
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    target = layer(inputs).detach().roll(1, 0)
    for _ in range(steps):
        optimizer.zero_grad()
        (layer(inputs) - target).square().sum().backward()
        optimizer.step()


def gains(layer, inputs, norm="2"):
    """Return the norm of the layer's Jacobian at each input: its largest singular value, or in L∞ its largest sum over a row."""
    inputs = inputs.detach().requires_grad_()
    outputs = layer(inputs).flatten(1).sum(0)  # the gradient by an input is that of its own output
    rows = [torch.autograd.grad(output, inputs, retain_graph=True)[0].flatten(1) for output in outputs]
    return torch.linalg.matrix_norm(torch.stack(rows, 1), float(norm))


def weighted(layer):
    """Return the layer that has the free weights: the first one of a recurrent layer's cell, otherwise the layer itself."""
    return layer.cell[0] if isinstance(layer, Recurrent) else layer


def rescaling(layer):
    """Return the name of the method that computes 2/T, or W with ‖W‖ ≤ 1, from a layer's free weights; None if it has none."""
    return next((name for name in ("step", "constrained_weight") if hasattr(layer, name)), None)


def frozen(layer):
    """Return the layer with its rescaling computed once, which is expensive, for laws about the map alone."""
    if name := rescaling(layer):
        value = getattr(layer, name)().detach()
        setattr(layer, name, lambda: value)
    return layer


def law_01_gain_is_at_most_one(subject):
    layer = subject.layer()
    inputs = torch.cat([subject.inputs(scale=scale) for scale in (0.1, 1.0, 10.0)])
    for _ in range(2):
        assert gains(layer, inputs, subject.norm).max() <= 1 + tol.GAIN
        train(layer, subject.inputs(8))


def law_02_no_pair_is_stretched(subject):
    layer = frozen(subject.layer())
    scales, pairs = (1e-3, 1e-2, 0.1, 1.0, 10.0), 8
    points = [subject.inputs(pairs).requires_grad_() for _ in scales]
    differences = [subject.inputs(pairs, seed=2, scale=scale).requires_grad_() for scale in scales]
    rates = [{"params": [d], "lr": 0.1 * scale} for d, scale in zip(differences, scales, strict=True)]
    optimizer = torch.optim.Adam([{"params": points, "lr": 0.1}, *rates])
    # The tolerance grows as pairs get closer: differences of outputs have a rounding error that does not shrink with them.
    most = 1 + tol.GAIN / torch.tensor(scales, dtype=torch.float64).clamp_max(1).repeat_interleave(pairs)
    for _ in range(30):
        x, d = torch.cat(points), torch.cat(differences)
        stretch = lengths(layer(x + d) - layer(x), subject.norm) / lengths(d, subject.norm)
        assert (stretch <= most).all()
        optimizer.zero_grad()
        (-stretch.log().sum()).backward()
        optimizer.step()


def law_03_is_not_the_zero_map(subject):
    layer = subject.layer()
    # A kernel larger than the image has a smaller gain, as its T also covers pixels outside the image.
    least = 0.1 if weighted(layer).weight.shape[-1] > min(subject.shape[1:], default=np.inf) else 0.3
    assert gains(layer, subject.inputs(), subject.norm).max() >= least


def law_04_every_parameter_matters(subject):
    layer, x = subject.layer(), subject.inputs(16)
    before = layer(x)
    for name, parameter in layer.named_parameters():
        saved = parameter.detach().clone()
        with torch.no_grad():
            parameter.add_(torch.randn_like(parameter))
            assert (layer(x) - before).abs().max() > 1e-6, f"{name} has no effect"
            parameter.copy_(saved)


def law_05_gradients_are_finite(subject):
    for dtype in (torch.float32, torch.float64):
        for extreme, change in EXTREMES.items():
            layer, x = subject.layer().to(dtype), subject.inputs().to(dtype)
            with torch.no_grad():
                change(weighted(layer))
            y = layer(x)
            assert y.isfinite().all(), f"output with {extreme}"
            y.square().mean().backward()
            for name, parameter in layer.named_parameters():
                assert parameter.grad is not None, f"{name} has no gradient"
                assert parameter.grad.isfinite().all(), f"gradient of {name} with {extreme}"


def law_06_eval_is_train_and_load_takes_effect(subject):
    layer, other, x = subject.layer(), subject.layer(seed=5), subject.inputs()
    trained = layer(x)
    layer.eval()
    assert torch.equal(layer(x), trained)
    layer.load_state_dict(other.state_dict())
    assert torch.equal(layer(x), other(x))


def law_07_one_rescaling_per_forward(subject):
    layer = subject.layer().eval()
    kind, name = type(weighted(layer)), rescaling(weighted(layer))
    if name is None:
        pytest.skip("makes its weights inside forward")
    original, calls = getattr(kind, name), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, name, lambda self: calls.append(1) or original(self))
        for count in (1, 2):
            layer(subject.inputs())
            assert len(calls) == count


def law_08_dtype_and_shape_are_kept(subject):
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        layer = subject.layer().to(dtype)
        for batch in (0, 1, 3):
            x = subject.inputs(batch).to(dtype).requires_grad_()
            y = layer(x)
            space = () if isinstance(layer, Recurrent) else x.shape[2:]
            assert (y.dtype, y.device, len(y), y.shape[2:]) == (x.dtype, x.device, batch, space)
            assert y.shape[1] == (subject.channels or x.shape[1])
            assert y.is_contiguous()
            y.sum().backward()
            assert x.grad.shape == x.shape
            assert batch or not any(parameter.grad.any() for parameter in layer.parameters())


def law_09_equals_the_dense_oracle(subject, oracle):
    layer, x = subject.layer(), subject.inputs()
    np.testing.assert_allclose(layer(x).detach().numpy(), oracle(layer, x.numpy()), rtol=0, atol=tol.SAME)


def law_10_survives_round_trips(subject):
    layer, x = subject.layer(), subject.inputs()
    expected = layer(x)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    for state in (torch.load(buffer, weights_only=True), safetensors.torch.load(safetensors.torch.save(layer.state_dict()))):
        fresh = subject.layer(seed=7)
        fresh.load_state_dict(state, strict=True)
        assert torch.equal(fresh(x), expected)
    assert torch.equal(copy.deepcopy(layer)(x), expected)
    # Without derivatives by its weights, a folded layer may sum in another order.
    torch.testing.assert_close(subject.folded(layer)(x), expected, rtol=0, atol=tol.SAME)


def law_11_compiles_whole(subject):
    layer, x = subject.layer(), subject.inputs()
    torch.compiler.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(compiled, layer(x), rtol=0, atol=tol.SAME)


def law_12_bfloat16_autocast_keeps_the_slack(subject):
    layer, x = subject.layer().float(), subject.inputs(16).float()
    of, name = weighted(layer), rescaling(weighted(layer))
    exact, constrained = layer(x), getattr(of, name)() if name else None
    with torch.autocast("cpu", torch.bfloat16):
        assert name is None or torch.equal(getattr(of, name)(), constrained), "the rescaling must not notice autocast"
        error = (layer(x) - exact).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
    assert error.max() <= tol.BF16


def law_13_the_sdp_condition_holds(subject):
    layer = subject.layer()
    of = weighted(layer)
    for _ in range(2):
        if rescaling(of) == "step":
            t, weight = 2 / of.step().detach(), of.weight.detach()
            for gram in grams(weight):
                diagonal = t.repeat_interleave(len(gram) // len(t)).to(gram.dtype)
                slack = torch.linalg.eigvalsh(torch.diag(diagonal) - gram).min()
                assert slack >= -tol.EIGENVALUE * t.max()
        elif rescaling(of) == "constrained_weight":
            for gram in grams(of.constrained_weight().detach()):
                assert torch.linalg.eigvalsh(gram).max() <= 1 + tol.GAIN
        elif isinstance(folded := subject.folded(layer), StoredMatrices):
            matrices = folded.matrices()
            gram = matrices.mH @ matrices if matrices.shape[-2] >= matrices.shape[-1] else matrices @ matrices.mH
            assert (gram - torch.eye(gram.shape[-1])).abs().max() <= tol.GAIN
        else:
            assert torch.linalg.matrix_norm(linear_matrix(layer, subject.shape), 2) <= 1 + tol.GAIN
        train(layer, subject.inputs(8))


def law_14_ties_stretch_nothing(subject):
    """At an input where all is tied, where derivatives jump, no neighbour is stretched and every derivative is allowed."""
    layer = subject.layer()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(0.25)
    tied = torch.stack([torch.full(subject.shape, value, dtype=torch.float64) for value in (0.0, 0.5, -0.25)])
    assert gains(layer, tied, subject.norm).max() <= 1 + tol.GAIN
    for scale in (1e-6, 1e-3, 1.0):
        d = subject.inputs(scale=scale)
        stretch = lengths(layer(tied + d) - layer(tied), subject.norm) / lengths(d, subject.norm)
        assert (stretch <= 1 + tol.GAIN / min(scale, 1.0)).all()


LAWS = [law for name, law in sorted(globals().items()) if name.startswith("law_") and "oracle" not in name]
IN_L2 = [law_07_one_rescaling_per_forward, law_13_the_sdp_condition_holds]
