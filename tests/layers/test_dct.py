"""The cosine transform of patches is the known one, an isometry, and part of networks that are certified soundly and exported."""

from pathlib import Path

import pytest
import torch
from scipy.fft import dctn

import sll_zoo
from sll_zoo.errors import ConfigError
from sll_zoo.layers import PatchDCT, PixelUnshuffle, fold
from sll_zoo.models import LipNetConfig, build
from sll_zoo.zoo.publishing.save import save_pretrained
from tests import tolerances as tol


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_each_patch_is_transformed_over_channels_rows_and_columns(channels: int, patch: int) -> None:
    images = torch.rand(2, channels, 8, 8, dtype=torch.float64)
    given = PatchDCT(channels, patch)(PixelUnshuffle(patch)(images))
    patches = images.unfold(2, patch, patch).unfold(3, patch, patch)  # (batch, channels, h, w, rows, columns)
    known = torch.from_numpy(dctn(patches.numpy(), axes=(1, 4, 5), norm="ortho"))
    torch.testing.assert_close(given, known.permute(0, 1, 4, 5, 2, 3).flatten(1, 3), rtol=0, atol=tol.SAME)
    torch.testing.assert_close(given.norm(), images.norm(), rtol=tol.SAME, atol=0)


def test_its_precision_is_that_of_the_images_whatever_autocast_says() -> None:
    x = torch.rand(2, 12, 4, 4)
    layer = PatchDCT(3, 2)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = layer(x)
    assert torch.equal(under_autocast, layer(x))
    torch.testing.assert_close(layer(x).double(), fold(layer, torch.float64)(x.double()), rtol=0, atol=tol.FLOAT32)
    assert layer(x.bfloat16()).dtype == torch.bfloat16


def test_a_network_of_patches_in_this_basis_is_audited_and_certified_soundly() -> None:
    config = LipNetConfig(
        width=16, conv_layers=2, conv_inner=4, dense_layers=1, dense_inner=8, patch=2, dct=True, pool=2, img_size=8
    )
    network = build(config).eval()
    audit = sll_zoo.audit(network)
    assert audit.constant == 1.0
    assert "transform" in [layer.name for layer in audit.layers]
    images = torch.rand(3, 3, 8, 8)
    certified, sound = (sll_zoo.certify(network, images, sound=sound) for sound in (False, True))
    assert torch.equal(certified.prediction, sound.prediction)
    assert (sound.radius <= certified.radius).all()
    torch.testing.assert_close(sound.radius, certified.radius, rtol=0, atol=1e-9)  # a proof of float64 takes off no more


def test_it_is_folded_where_the_network_is() -> None:
    assert fold(PatchDCT(3, 2).to("meta"), torch.float64).weight.is_meta


def test_a_network_is_loaded_whole(tmp_path: Path) -> None:
    network = sll_zoo.create_model("sll_nano.digits", patch=2, dct=True)
    save_pretrained(network, tmp_path / "saved", label_names=tuple("0123456789"))
    loaded = sll_zoo.create_model(f"local-dir:{tmp_path}/saved", pretrained=True)
    assert not any(buffer.is_meta for buffer in loaded.buffers())
    images = torch.rand(2, 1, 8, 8)
    assert torch.equal(sll_zoo.certify(loaded.eval(), images).radius, sll_zoo.certify(network.eval(), images).radius)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\(0, 2\)"):
        PatchDCT(0, 2)


@pytest.mark.parametrize("name", ["dct", "maxmin"])
def test_a_setting_that_is_no_truth_value_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}='yes'"):
        LipNetConfig(width=16, conv_layers=1, conv_inner=4, dense_layers=0, dense_inner=8, **{name: "yes"})
