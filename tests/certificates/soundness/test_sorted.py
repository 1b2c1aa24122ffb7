"""Networks in L∞ beside exact rational arithmetic: no rounding is larger than its bound."""

import copy

import pytest
import torch

import sll_zoo
from sll_zoo.certificates.soundness.arithmetic import arithmetic_of
from sll_zoo.certificates.soundness.rounding import rounding_of
from sll_zoo.errors import ConfigError
from sll_zoo.layers import SortLinear
from sll_zoo.models.chain import trace
from tests.certificates.soundness.exact import chain, distance, forward, rational
from tests.plants import sorting

DTYPES = (torch.float64, torch.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
def test_features_and_logits_are_off_by_no_more_than_the_bound_says(rho, dtype):
    network = sll_zoo.freeze(sorting(rho), dtype)
    images = torch.rand(2, 2, 4, 3, dtype=torch.float64)
    features, logit = network.errors(images, torch.zeros(2, dtype=torch.float64))
    _, calls, logits = trace(network.network, images.to(dtype))
    for i, image in enumerate(images):
        off = distance(calls[-1].x[i], chain([call.layer for call in calls[:-1]], image), "inf")
        assert off <= features[i]
        assert distance(logits[i], forward(network.network.head, rational(calls[-1].x[i])), "inf") <= logit[i]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9])
def test_every_layer_is_off_by_no_more_than_its_bound(rho, dtype):
    network = sll_zoo.freeze(sorting(rho), dtype).network
    for scale in (1e-30, 1e-3, 1.0, 1e3):
        for call in trace(network, (scale * torch.rand(1, 2, 4, 3)).to(dtype)).calls[1:]:
            bound = rounding_of(call.layer, call.x, arithmetic_of(dtype)).at(call.x.double().abs().max())
            assert distance(call.y[0], forward(call.layer, rational(call.x[0])), "inf") <= bound, call.name


@pytest.mark.parametrize("dtype", DTYPES)
def test_sorted_distances_of_thousands_of_terms_stay_within_their_bound_in_long_double(dtype):
    layer, x = SortLinear(5000, 20, rho=0.999).eval().to(dtype), 3 * torch.randn(1, 5000, dtype=dtype)
    weights, offsets, point = (
        part.detach().double().numpy().astype("longdouble") for part in (layer.order_weights(), layer.weight, x[0])
    )
    exact = [(weights * sorted(abs(point + row), reverse=True)[: len(weights)]).sum() for row in offsets]
    off = max(abs(float(a - b)) for a, b in zip(layer(x)[0].tolist(), exact, strict=True))
    assert 0 < off <= rounding_of(layer, x, arithmetic_of(dtype)).at(x.double().abs().max())


class Heavy(SortLinear):
    """A sum of weights above 1, by a subclass of which nothing is known."""

    def order_weights(self, *dtype):
        return 1.01 * super().order_weights(*dtype)


def test_freezing_refuses_weights_of_another_sum(monkeypatch):
    net = sorting()
    other = copy.deepcopy(net)
    other.layers[1][0].__class__ = Heavy
    with pytest.raises(ConfigError, match=r"layers\.1\.0"):
        sll_zoo.freeze(other)
    monkeypatch.setattr(SortLinear, "order_weights", lambda layer, *_: torch.full((2,), 0.505, dtype=layer.weight.dtype))
    with pytest.raises(ConfigError, match=r"layers\.0\.0, a SortLinear"):
        sll_zoo.freeze(net)
    assert any("layers.0.0" in problem for problem in sll_zoo.audit(net).problems)
