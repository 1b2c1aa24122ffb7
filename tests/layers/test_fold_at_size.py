"""Layers whose folded form is for images of one size: circular convolutions."""

import math
import sys
from types import SimpleNamespace

import pytest
import torch

from sll_zoo.certificates.certification import certify, evaluation_form
from sll_zoo.certificates.soundness import freeze
from sll_zoo.errors import ConfigError, InputError, WeightsError
from sll_zoo.functional import orthogonal
from sll_zoo.layers import (
    FAMILIES,
    BROConv2d,
    FoldedLinearForm,
    MaxMin,
    OrthogonalConv2d,
    PixelUnshuffle,
    SandwichConv2d,
    SLLLinear,
    fold,
    is_folded,
)
from sll_zoo.layers.folding import fold_what_fits
from tests import tolerances as tol
from tests.layers.test_fold import CONFIG, CONVNET, random_network


@pytest.mark.parametrize(("family", "name"), [("orthogonal", "cayley"), ("bro", "block_reflector"), ("sandwich", "cayley")])
def test_folding_a_network_makes_the_matrices_of_each_layer_once(family, name, monkeypatch):
    net, made, original = random_network(CONVNET, family), [], getattr(orthogonal, name)
    monkeypatch.setattr(f"sll_zoo.layers.{family}.{name}", lambda *args: made.append(args) or original(*args))
    fold(net, torch.float64)
    assert len(made) == net.config.depth


@pytest.mark.parametrize("kind", [OrthogonalConv2d, BROConv2d, SandwichConv2d])
def test_a_circular_convolution_folds_for_the_images_of_one_size(kind):
    layer, x = kind(3, 4).double(), torch.rand(2, 3, 6, 5, dtype=torch.float64)
    folded = fold(layer, size=(6, 5))
    assert torch.equal(folded(x), layer(x))
    assert sum(tensor.nbytes for tensor in folded.buffers()) >= layer.bytes_at((6, 5)) == folded.stored.nbytes
    with pytest.raises(InputError, match=r"\(2, 3, 5, 6\) .*\(6, 5\).*fold\(module, size="):
        folded(x.mT)
    stack = torch.nn.Sequential(MaxMin(), layer)
    with pytest.raises(ConfigError, match=rf"{kind.__name__}.*fold\(module, size=\(height, width\)\)"):
        fold(stack)
    assert not is_folded(stack.eval())
    assert torch.equal(fold(stack, size=(6, 5))(x), stack(x))


@pytest.mark.parametrize("kind", [OrthogonalConv2d, BROConv2d, SandwichConv2d])
def test_a_kernel_of_one_pixel_is_one_real_matrix_for_every_size(kind):
    layer = kind(3, 4, 1).double()
    folded = fold(layer)
    assert is_folded(folded)
    for shape in ((2, 3, 6, 5), (1, 3, 8, 8)):
        x = torch.rand(shape, dtype=torch.float64)
        assert torch.equal(folded(x), layer(x))
    assert max(tensor.numel() for tensor in folded.buffers()) == math.prod(layer.matrix_shape)
    assert isinstance(folded, FoldedLinearForm) == (kind is not SandwichConv2d)


class Own(torch.nn.Sequential):
    """A network of one's own, of images that become smaller."""

    def __init__(self):
        circular = (OrthogonalConv2d(3, 4), MaxMin(), PixelUnshuffle(2), SandwichConv2d(16, 5))
        super().__init__(*circular, torch.nn.Flatten(), SLLLinear(80, 7))

    def pairwise_lipschitz(self):
        return torch.tensor(2.0)


def test_a_network_of_ones_own_is_certified_whatever_the_sizes_of_its_images_and_folds_in_parts():
    own, x = Own().double().eval(), torch.rand(3, 3, 8, 8, dtype=torch.float64)
    expected = certify(own, x)
    with pytest.raises(InputError, match=r" \(8, 8\)"):
        fold(own, size=(8, 8))(x)
    own[0], own[3] = fold(own[0], size=(8, 8)), fold(own[3], size=(4, 4))
    folded = fold(own)
    assert is_folded(folded)
    torch.testing.assert_close(certify(folded, x).radius, expected.radius, rtol=tol.FOLD, atol=0)


@pytest.mark.parametrize("family", ["orthogonal", "bro", "sandwich"])
def test_what_would_take_too_much_memory_is_not_folded_unasked(family, monkeypatch):
    net, x = random_network(CONFIG, family), torch.rand(3, 3, 8, 8)
    radius = certify(net, x).radius
    monkeypatch.setattr(sys.modules[fold.__module__], "UNASKED_BYTES", 0)
    made = evaluation_form(net)
    assert not is_folded(made)
    assert sum(isinstance(layer, FAMILIES[family].conv) for layer in made.modules()) == 2
    torch.testing.assert_close(certify(net, x).radius, radius, rtol=tol.FOLD, atol=0)
    assert is_folded(fold(net, torch.float64))


@pytest.mark.parametrize(("family", "name"), [("orthogonal", "convs.1.0"), ("sandwich", "convs.1"), ("sandwich", "denses.1")])
@pytest.mark.parametrize("edit", [lambda layer: layer.stored.data.mul_(2), lambda layer: setattr(layer, "size", (8, 9))])
def test_stored_matrices_that_were_changed_have_no_certificate(edit, family, name):
    x, folded = torch.rand(2, 3, 8, 8), fold(random_network(CONFIG, family), torch.float64)
    certify(folded, x)
    edit(folded.get_submodule(name))
    for road in (lambda: certify(folded, x), folded.pairwise_lipschitz, lambda: freeze(folded)):
        with pytest.raises(WeightsError, match=rf"{name} \(Folded\w+\)"):
            road()


class Halving(torch.nn.Module):
    """One circular convolution for images of two sizes."""

    config = SimpleNamespace(input_shape=(3, 8, 8))

    def __init__(self):
        super().__init__()
        self.twice = OrthogonalConv2d(3, 3)

    def require_structure(self):
        """Every edit is allowed."""

    def forward(self, x):
        return self.twice(self.twice(x)[:, :, ::2, ::2])


def test_a_convolution_of_images_of_two_sizes_computes_its_matrices_at_every_call():
    net, x = Halving().double().eval(), torch.rand(2, 3, 8, 8, dtype=torch.float64)
    assert torch.equal(fold_what_fits(net)(x), net(x))
    with pytest.raises(ConfigError, match="OrthogonalConv2d"):
        fold(net)
