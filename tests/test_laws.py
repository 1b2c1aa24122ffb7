"""Every law for every family, dense and convolutional."""

from functools import partial

import pytest
import torch

from sll_zoo.functional.convolution import same_conv2d, same_conv2d_adjoint
from sll_zoo.layers import FAMILIES, LiResConv2d, LiResLinear, SortHead, SortLinear
from tests import tolerances as tol
from tests.laws import IN_L2, LAWS, Subject, gains, law_09_equals_the_dense_oracle, law_10_survives_round_trips, train
from tests.marks import slow_but
from tests.operators import linear_matrix
from tests.oracles import ORACLES

SIZES = {
    "linear": ((6, 4), (6,)),
    "linear-wide": ((4, 7), (4,)),
    "conv1": ((4, 3, 1), (4, 3, 3)),
    "conv3": ((3, 4, 3), (3, 4, 5)),
    "conv5": ((2, 3, 5), (2, 6, 6)),
    "conv7-image-smaller-than-kernel": ((2, 2, 7), (2, 3, 3)),
}


def subject(family, kind, **options):
    """Return a layer of a family: a residual one keeps its channels, the others have as many as the second number says."""
    arguments, shape = SIZES[kind]
    make = partial(family.conv if kind.startswith("conv") else family.linear, *arguments, **options)
    return Subject(make, shape, None if family.form == "residual" else arguments[1])


SUBJECTS = {f"{name}-{kind}": (name, subject(family, kind)) for name, family in FAMILIES.items() for kind in SIZES}

# In eval mode: in train mode inputs are dropped at random.
SORTED = {
    f"{name}, rho={rho}": Subject(lambda kind=kind, rho=rho: kind(6, 4, rho).eval(), (6,), 4, norm="inf")
    for name, kind in {"layer": SortLinear, "head": SortHead}.items()
    for rho in (0.0, 0.3, 0.9)
}


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("key", SUBJECTS)
def test_law_holds(key, law):
    law(SUBJECTS[key][1])


@pytest.mark.parametrize("law", [law for law in LAWS if law not in IN_L2], ids=lambda law: law.__name__)
@pytest.mark.parametrize("key", SORTED)
def test_law_holds_in_l_infinity(key, law):
    law(SORTED[key])


@pytest.mark.parametrize("key", SORTED)
def test_sorted_distances_equal_their_oracle(key):
    law_09_equals_the_dense_oracle(SORTED[key], ORACLES["sortnet"])


@pytest.mark.parametrize("key", [key for key, (name, _) in SUBJECTS.items() if name in ORACLES])
def test_layer_equals_its_dense_oracle(key):
    name, of = SUBJECTS[key]
    law_09_equals_the_dense_oracle(of, ORACLES[name])


@pytest.mark.parametrize("key", SUBJECTS)
def test_float32_stretches_by_no_more_than_its_rounding(key):
    layer = SUBJECTS[key][1].layer().float()
    assert gains(layer, SUBJECTS[key][1].inputs().float()).max() <= 1 + tol.FLOAT32


@pytest.mark.parametrize("steps", slow_but([200], [200, 2000]))
@pytest.mark.parametrize("kind", ["linear", "conv3"])
@pytest.mark.parametrize("name", FAMILIES)
def test_steps_at_ten_times_the_rate_give_no_nan(name, kind, steps):
    of = SUBJECTS[f"{name}-{kind}"][1]
    layer = of.layer().float()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1, betas=(0.5, 0.9))
    x, target = of.inputs(16).float(), torch.randn_like(layer(of.inputs(16).float()))
    for _ in range(steps):
        optimizer.zero_grad()
        (layer(x) - target).square().sum().backward()
        optimizer.step()
    assert all(parameter.isfinite().all() for parameter in layer.parameters())
    assert gains(layer, x[:1]).max() <= 1 + tol.FLOAT32


@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("name", ["orthogonal", "bro"])
def test_orthogonal_layers_are_isometries_on_as_much_as_can_be(name, kind):
    of = SUBJECTS[f"{name}-{kind}"][1]
    layer = of.layer()
    for _ in range(2):
        w = linear_matrix(layer, of.shape)
        gram = w @ w.mT if w.shape[0] <= w.shape[1] else w.mT @ w
        assert (gram - torch.eye(len(gram))).abs().max() <= tol.GAIN
        train(layer, of.inputs(8))


@pytest.mark.parametrize("layer", [LiResLinear(64, 64, bias=False), LiResConv2d(64, 64, bias=False)], ids=["linear", "conv3"])
def test_linear_residual_layers_start_near_the_identity(layer):
    x = torch.randn(2, 64, *(() if isinstance(layer, LiResLinear) else (8, 8)))
    assert 0.98 <= (layer(x) * x).sum() / x.square().sum() <= 1
    assert (layer(x) - x).norm() <= 0.02 * x.norm()


@pytest.mark.parametrize("name", FAMILIES)
def test_circular_padding_obeys_too_where_a_family_offers_it(name):
    of = subject(FAMILIES[name], "conv3", padding_mode="circular")
    try:
        of.make()
    except TypeError as error:
        assert "padding_mode" in str(error)  # noqa: PT017 - which of the two is up to the family
        pytest.skip("has one padding only")
    for law in (LAWS[0], LAWS[1], law_10_survives_round_trips):
        law(of)


@pytest.mark.parametrize("size", [3, 4, 6])
def test_the_adjoint_of_a_convolution_is_its_adjoint(size):
    for mode in ("zeros", "circular"):
        kernel = torch.randn(4, 3, 3, 3, dtype=torch.float64)
        x = torch.randn(1, 3, size, size, dtype=torch.float64)
        y = torch.randn(1, 4, size, size, dtype=torch.float64)
        left = (same_conv2d(x, kernel, None, mode) * y).sum()
        torch.testing.assert_close(left, (x * same_conv2d_adjoint(y, kernel, mode)).sum())


def test_a_layer_without_bias_obeys_the_first_law():
    for layer, shape in ((FAMILIES["sll"].linear(6, 4, bias=False), (6,)), (FAMILIES["sll"].conv(3, 2, bias=False), (3, 4, 4))):
        assert layer.bias is None
        LAWS[0](Subject(lambda layer=layer: layer, shape))
