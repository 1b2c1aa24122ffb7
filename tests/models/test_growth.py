"""A grown network starts as the same function, learns in every weight, and is certified like any other."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import sll_zoo
from sll_zoo.errors import ConfigError
from sll_zoo.layers import FAMILIES, SLLLinear
from sll_zoo.models import LipConvNetConfig, LipNet, LipNetConfig, build
from sll_zoo.models.growth import corresponding, grown
from tests import tolerances as tol

SMALL = LipNetConfig(
    width=16, conv_layers=3, conv_inner=6, dense_layers=2, dense_inner=20, img_size=(8, 8), pool=2, num_classes=5
)
SHAPES = {
    "kernels": SMALL,
    "patches": replace(SMALL, patch=2, dct=True, pool=1),
    "windows": replace(SMALL, window=2, kernel_size=1),
}
# Changes that keep the function.
EXACT = {
    "width": {"width": 22},
    "inner": {"conv_inner": 9, "dense_inner": 33},
    "width and depth": {"width": 22, "conv_layers": 6, "dense_layers": 3},
    "all": {"width": 22, "conv_layers": 4, "conv_inner": 9, "dense_layers": 4, "dense_inner": 33},
}
GROWING = [name for name, family in FAMILIES.items() if family.form == "residual"]


def network(config, seed=0):
    torch.manual_seed(seed)
    net = build(config).double()
    for name, parameter in net.named_parameters():
        if name.endswith("log_q"):
            torch.nn.init.normal_(parameter)
    return net


def images(count=64):
    return torch.rand(count, 3, 8, 8, dtype=torch.float64)


def loss_of(net, x):
    return F.cross_entropy(20 * net(x), torch.arange(len(x)) % 5)


@pytest.mark.parametrize("changes", EXACT)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("family", GROWING)
def test_width_inner_units_and_layers_on_new_channels_change_no_logit(family, shape, changes):
    config = replace(SHAPES[shape], family=family)
    small, x = network(config), images()
    large = grown(small, replace(config, **EXACT[changes]))
    assert large.config == replace(config, **EXACT[changes])
    torch.testing.assert_close(large(x), small(x), rtol=0, atol=tol.GROWN)
    features = large.forward_features(x)
    torch.testing.assert_close(features[:, : small.num_features], small.forward_features(x), rtol=0, atol=tol.GROWN)


@pytest.mark.parametrize("changes", ["width", "inner", "all"])
@pytest.mark.parametrize("family", GROWING)
def test_the_gradient_wakes_every_weight(family, changes):
    """Ten steps of Adam on a grown network: no part of any weight stays as small as it began."""
    config = replace(SMALL, family=family)
    small = network(config)
    large, x = grown(small, replace(config, **EXACT[changes])), images()
    optimizer, before = torch.optim.Adam(large.parameters(), lr=0.01), loss_of(large, x).item()
    for _ in range(10):
        optimizer.zero_grad()
        loss_of(large, x).backward()
        optimizer.step()
    assert loss_of(large, x) < before
    for pair in corresponding(small, large):
        old = torch.zeros_like(pair.large)
        pair.embed(torch.ones_like(pair.small), old)
        new = pair.large[old == 0].abs()
        assert not len(new) or new.mean() > 1e-3
    started = grown(small, replace(config, **EXACT[changes]))
    for (name, one), other in zip(large.named_parameters(), started.parameters(), strict=True):
        assert not torch.equal(one, other), name


def test_a_network_of_zeros_grows_without_nan():
    small = network(SMALL)
    for parameter in small.parameters():
        torch.nn.init.zeros_(parameter)
    large, x = grown(small, replace(SMALL, **EXACT["all"])), images()
    loss_of(large, x).backward()
    assert large(x).isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in large.parameters())


@pytest.mark.parametrize("family", ["sll", "cpl"])
@pytest.mark.parametrize("shape", SHAPES)
def test_more_layers_of_the_same_width_are_silent_on_nearly_all_of_the_images(family, shape):
    config = replace(SHAPES[shape], family=family)
    small, x = network(config), images(256)
    deeper = replace(config, conv_layers=6, dense_layers=4)
    logits = small(x)
    spread = logits.std()
    assert ((grown(small, deeper, x)(x) - logits).abs() < 0.01 * spread).double().mean() > 0.8
    fresh = network(deeper, seed=1)
    for pair in corresponding(small, fresh):
        pair.large.data.copy_(pair.small)
    assert ((fresh(x) - logits).abs() < 0.01 * spread).double().mean() < 0.5  # new layers as they start are not silent


def test_a_finer_image_gives_the_same_on_images_that_are_not_fine():
    """On images of constant colour, kernels of one pixel see the same; features keep their number and their scale."""
    coarse = replace(SMALL, downsample=2, pool=1, kernel_size=1)
    small = network(coarse)
    large = grown(small, replace(coarse, downsample=1, pool=2))
    assert large.num_features == small.num_features
    x = images(4)[:, :, :1, :1].expand(-1, -1, 8, 8)
    for net in (small, large):  # without biases, which do not scale
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(large.forward_features(x), small.forward_features(x), rtol=0, atol=tol.SAME)


def test_a_grown_network_keeps_device_dtype_mode_and_the_random_numbers_of_others():
    small = network(SMALL).to(torch.float32).eval()
    state = torch.get_rng_state()
    large = grown(small, replace(SMALL, width=22))
    assert (large.training, large.center.mean.dtype) == (False, torch.float32)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(large.convs[0].weight, grown(small, replace(SMALL, width=22)).convs[0].weight)


@pytest.mark.parametrize("changes", ["all", "width"])
def test_a_grown_network_is_certified_by_its_own_constants(changes):
    small = network(SMALL)
    small.eval()
    large, x = grown(small, replace(SMALL, **EXACT[changes])), images(32)
    assert sll_zoo.audit(large).constant <= 1 + tol.GAIN
    torch.testing.assert_close(sll_zoo.certify(large, x).radius, sll_zoo.certify(small, x).radius, rtol=0, atol=tol.GROWN)
    labels = sll_zoo.certify(large, x).prediction
    assert not sll_zoo.attack(large, x, labels, [0.05], steps=20, restarts=1).violations.any()


@pytest.mark.parametrize("changes", ["width", "width and depth"])
@pytest.mark.parametrize("family", ["sll", "sll2", "cpl"])
def test_units_that_are_off_and_rows_of_very_different_sizes_change_nothing(family, changes):
    config = replace(SMALL, family=family)
    small, x = network(config), images()
    with torch.no_grad():
        for layer in (*small.convs, *small.denses, small.head):
            layer.weight.mul_(torch.exp(3 * torch.randn(len(layer.weight))).view(-1, *[1] * (layer.weight.ndim - 1)))
            layer.weight[0] = 0
    large = grown(small, replace(config, **EXACT[changes]))
    torch.testing.assert_close(large(x), small(x), rtol=0, atol=tol.GROWN)
    torch.testing.assert_close(large.pairwise_lipschitz(), small.pairwise_lipschitz(), rtol=0, atol=tol.GROWN)


def altered(net, how):
    if how == "folded":
        return sll_zoo.fold(net)
    if how == "activation":
        net.denses[0].activation = "tanh"
    if how == "power":
        net.denses[0].power = 4
    if how == "one more":
        net.denses.append(SLLLinear(net.num_features, 3).double())
    if how == "no bias":
        net.denses[0] = SLLLinear(net.num_features, 20, bias=False).double()
    return net


@pytest.mark.parametrize("how", ["folded", "activation", "power", "one more", "no bias"])
def test_a_network_that_is_not_as_its_configuration_says_is_refused(how):
    with pytest.raises(ConfigError, match="fold"):
        grown(altered(network(SMALL), how), replace(SMALL, width=22))


def test_float16_is_refused_and_bfloat16_grows():
    with pytest.raises(ConfigError, match="float16"):
        grown(network(SMALL).half(), replace(SMALL, width=22))
    large = grown(network(SMALL).bfloat16(), replace(SMALL, width=22))
    assert large.convs[0].weight[:, 16:].count_nonzero() == large.convs[0].weight[:, 16:].numel()


def test_memory_is_saved_as_before():
    small = network(SMALL)
    small.set_grad_checkpointing()
    assert grown(small, replace(SMALL, width=22)).grad_checkpointing


@pytest.mark.parametrize(
    ("small", "large", "words"),
    [
        (replace(SMALL, family="aol"), replace(SMALL, family="aol", width=22), "aol"),
        (replace(SMALL, family="bro"), replace(SMALL, family="bro", width=22), "bro"),
        (replace(SMALL, maxmin=True), replace(SMALL, maxmin=True, width=22), "maxmin"),
        (SMALL, replace(SMALL, width=15), "width=16 to 15"),
        (SMALL, replace(SMALL, dense_layers=1), "dense_layers=2 to 1"),
        (SMALL, replace(SMALL, kernel_size=5), "kernel_size=3 to 5"),
        (SMALL, replace(SMALL, num_classes=6), "num_classes=5 to 6"),
        (SMALL, replace(SMALL, family="cpl"), "family='sll' to 'cpl'"),
        (SMALL, replace(SMALL, pool=4), "pool=2"),
        (SMALL, replace(SMALL, pool=1, downsample=2), "downsample=1"),
        (SMALL, replace(SMALL, conv_layers=4), "same width"),
        (SMALL, LipConvNetConfig(width=4, blocks=2, block_layers=2, img_size=(8, 8)), "LipConvNetConfig"),
        (LipConvNetConfig(width=4, blocks=2, block_layers=2, img_size=(8, 8)), SMALL, "LipConvNetConfig"),
    ],
)
def test_what_cannot_grow_is_refused_with_the_reason(small, large, words):
    with pytest.raises(ConfigError, match=words):
        grown(build(small), large)


def test_every_residual_family_can_grow_and_no_other():
    assert set(GROWING) == {"sll", "sll2", "sll4", "sll8", "cpl"}
    assert isinstance(grown(network(SMALL), SMALL), LipNet)
