import dataclasses
import re

import pytest

from sll_zoo.errors import ConfigError, UnknownNameError
from sll_zoo.models import LipConvNetConfig, LipNetConfig, LipRNNConfig

SIZES = {"width": 4, "conv_layers": 1, "conv_inner": 2, "dense_layers": 1, "dense_inner": 3}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": 4}, "kernel_size=4"),
        ({"in_chans": 5}, r"width=4 .* 5 \(in_chans=5\)"),
        ({"patch": 2}, r"width=4 .* 12 \(in_chans=3\)"),
        ({"patch": 0}, "patch=0"),
        ({"window": 3}, "window=3"),
        ({"window": 4, "pool": 6}, r"lcm\(window, pool\)=12"),
        ({"patch": 3, "width": 27, "img_size": 36, "pool": 8}, r"patch \* pool=24"),
        ({"in_chans": 0}, "in_chans=0"),
        ({"img_size": 30}, r"\(30, 30\).* pool=4"),
        ({"img_size": (32, 30)}, r"\(32, 30\).* pool=4"),
        ({"img_size": 0}, "img_size"),
        ({"img_size": (32, 32, 32)}, "img_size"),
        ({"num_classes": -1}, "num_classes=-1"),
        ({"num_classes": 2.0}, "num_classes=2.0"),
        ({"width": True}, "width=True"),
        ({"maxmin": "no"}, "maxmin='no'"),
        ({"maxmin": True, "family": "aol"}, "maxmin=True .*aol"),
        ({"mean": (0.1, 0.2)}, "mean .* 2 .*in_chans=3"),
    ],
)
def test_what_no_network_can_have_is_refused_with_the_value(changes, message):
    with pytest.raises(ConfigError, match=message):
        LipNetConfig(**(SIZES | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 5}, "width=5"),
        ({"img_size": 48}, "2^blocks=32"),
        ({"blocks": 0}, "blocks=0"),
        ({"blocks": 10**30}, f"blocks={10**30}"),
        ({"block_layers": 0}, "block_layers=0"),
    ],
)
def test_what_no_downsampling_network_can_have_is_refused_with_the_value(changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        LipConvNetConfig(**({"width": 4} | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"img_size": (0, 8)}, "img_size=(0, 8)"),
        ({"img_size": (8, 0)}, "img_size=(8, 0)"),
        ({"img_size": (8,)}, "img_size=(8,)"),
        ({"width": 0}, "width=0"),
        ({"cell_layers": 0}, "cell_layers=0"),
    ],
)
def test_what_no_recurrent_network_can_have_is_refused_with_the_value(changes, message):
    sizes = {"width": 4, "cell_layers": 1, "cell_inner": 2, "dense_layers": 0, "dense_inner": 3}
    assert LipRNNConfig(**sizes, img_size=(17, 2)).inputs == 6
    with pytest.raises(ConfigError, match=re.escape(message)):
        LipRNNConfig(**(sizes | changes))


def test_an_unknown_family_is_refused_with_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"family='sslll'.* sll,"):
        LipNetConfig(**SIZES, family="sslll")


def test_it_is_frozen_and_derives_its_shapes():
    config = LipNetConfig(**SIZES, img_size=(8, 16), in_chans=2, mean=(0.3,))
    assert config.input_shape == (2, 8, 16)
    assert config.num_features == 4 * 2 * 4
    assert dataclasses.replace(config, patch=2, pool=2, width=8).num_features == 8 * 2 * 4
    assert config.channel_means == (0.3, 0.3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.width = 5
