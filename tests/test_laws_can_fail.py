"""Each law refuses a layer that breaks it: a law that cannot fail proves nothing."""

import pytest
import torch
from torch import nn

from sll_zoo.functional.rescaling import abs_gram, gershgorin
from sll_zoo.functional.residual import residual
from sll_zoo.layers import BROLinear, LiResLinear, Recurrent, SLLLinear, SortLinear
from tests import laws
from tests.oracles import ORACLES


class Broken(SLLLinear):
    def __init__(self):
        super().__init__(6, 4)


class Stretched(Broken):
    def forward(self, x):
        return 1.1 * super().forward(x)


class Zero(Broken):
    def forward(self, x):
        return 0 * super().forward(x)


class CancelledQ(Broken):
    def step(self):
        return 2 / (abs_gram(self.weight) * self.log_q.exp()[:, None] / self.log_q.exp()[:, None]).sum(1)


class NanAtAZeroRow(Broken):
    def step(self):
        t = gershgorin(abs_gram(self.weight), self.log_q)
        inverse = t**-1
        return 2 * inverse.masked_fill(t == 0, 0)


class StaleCache(Broken):
    cache = None

    def forward(self, x):
        if self.training or self.cache is None:
            self.cache = self.step()
        return residual(x, self.weight, self.bias, self.cache)


class TwoRescalings(Broken):
    def forward(self, x):
        self.step()
        return super().forward(x)


class ReturnsFloat32(Broken):
    def forward(self, x):
        return super().forward(x).float()


class ForgetsState(Broken):
    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.randn(6), persistent=False)

    def forward(self, x):
        return super().forward(x) + self.shift


class BreaksTheGraph(Broken):
    def forward(self, x):
        torch._dynamo.graph_break()
        return super().forward(x)


class NoticesAutocast(Broken):
    def step(self):
        return 2 / gershgorin((self.weight @ self.weight.mT).abs().float(), self.log_q)


class TooShortT(Broken):
    def step(self):
        return 4 * super().step()


class ReflectsTooFar(BROLinear):
    def __init__(self):
        super().__init__(6, 6)

    def constrained_weight(self):
        return torch.eye(6) + 1.05 * (super().constrained_weight() - torch.eye(6))  # 2.1 in place of 2


class TooSmallNorm(LiResLinear):
    def __init__(self):
        super().__init__(6, 6)

    def constrained_weight(self):
        return super().constrained_weight() / 0.9


class SumAboveOne(SortLinear):
    def __init__(self):
        super().__init__(6, 4)
        self.eval()

    def order_weights(self, *dtype):
        return super().order_weights(*dtype) / (1 - self.rho)


class CountsTiesTwice(SortLinear):
    """The sum of all largest distances in place of one of them: the same but at ties."""

    def __init__(self):
        super().__init__(6, 4, rho=0.0)

    def forward(self, x):
        distances = (x[:, None] + self.weight).abs()
        return (distances * (distances == distances.amax(2, keepdim=True))).sum(2)


class NoGradient(Broken):
    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.ones(3))


REFUSED = [
    (laws.law_01_gain_is_at_most_one, Stretched),
    (laws.law_01_gain_is_at_most_one, TooShortT),
    (laws.law_01_gain_is_at_most_one, ReflectsTooFar),
    (laws.law_01_gain_is_at_most_one, TooSmallNorm),
    (laws.law_02_no_pair_is_stretched, Stretched),
    (laws.law_02_no_pair_is_stretched, ReflectsTooFar),
    (laws.law_02_no_pair_is_stretched, TooSmallNorm),
    (laws.law_03_is_not_the_zero_map, Zero),
    (laws.law_04_every_parameter_matters, CancelledQ),
    (laws.law_04_every_parameter_matters, NoGradient),
    (laws.law_05_gradients_are_finite, NanAtAZeroRow),
    (laws.law_05_gradients_are_finite, NoGradient),
    (laws.law_06_eval_is_train_and_load_takes_effect, StaleCache),
    (laws.law_07_one_rescaling_per_forward, StaleCache),
    (laws.law_07_one_rescaling_per_forward, TwoRescalings),
    (laws.law_08_dtype_and_shape_are_kept, ReturnsFloat32),
    (laws.law_10_survives_round_trips, ForgetsState),
    (laws.law_12_bfloat16_autocast_keeps_the_slack, NoticesAutocast),
    (laws.law_13_the_sdp_condition_holds, TooShortT),
    (laws.law_13_the_sdp_condition_holds, ReflectsTooFar),
    (laws.law_13_the_sdp_condition_holds, TooSmallNorm),
]


class Adds(Recurrent):
    """The state is added to what the cell gives: a step is 2-Lipschitz."""

    def forward(self, x):
        state = super().forward(x[:, :, :1])
        for step in range(1, x.shape[2]):
            state = state + self.cell(torch.cat([state, x[:, :, step].flatten(1)], 1))[:, -self.state :]
        return state


REFUSED_CELLS = [
    (laws.law_01_gain_is_at_most_one, Recurrent, Stretched),
    (laws.law_01_gain_is_at_most_one, Recurrent, TooShortT),
    (laws.law_01_gain_is_at_most_one, Adds, SLLLinear),
    (laws.law_02_no_pair_is_stretched, Recurrent, Stretched),
    (laws.law_02_no_pair_is_stretched, Adds, SLLLinear),
    (laws.law_07_one_rescaling_per_forward, Adds, SLLLinear),
    (laws.law_10_survives_round_trips, Recurrent, ForgetsState),
    (laws.law_13_the_sdp_condition_holds, Recurrent, TooShortT),
]


@pytest.mark.parametrize(("law", "kind", "layer"), REFUSED_CELLS, ids=lambda item: item.__name__)
def test_law_refuses_a_recurrent_layer(law, kind, layer):
    def make():
        return kind(2, 4, SLLLinear(6, 4) if layer is SLLLinear else layer())

    with pytest.raises(AssertionError):
        law(laws.Subject(make, (1, 3, 2), 4))


REFUSED_IN_L_INFINITY = [
    (laws.law_01_gain_is_at_most_one, SumAboveOne),
    (laws.law_02_no_pair_is_stretched, SumAboveOne),
    (laws.law_14_ties_stretch_nothing, SumAboveOne),
    (laws.law_14_ties_stretch_nothing, CountsTiesTwice),
]


@pytest.mark.parametrize(("law", "layer"), REFUSED_IN_L_INFINITY, ids=lambda item: item.__name__)
def test_law_refuses_in_l_infinity(law, layer):
    with pytest.raises(AssertionError):
        law(laws.Subject(layer, (6,), norm="inf"))


def test_sorted_distances_break_the_laws_in_l2():
    for law in (laws.law_01_gain_is_at_most_one, laws.law_02_no_pair_is_stretched):
        with pytest.raises(AssertionError):
            law(laws.Subject(lambda: SortLinear(6, 60).eval(), (6,)))


def test_the_oracle_refuses_a_sum_above_one():
    with pytest.raises(AssertionError):
        laws.law_09_equals_the_dense_oracle(laws.Subject(SumAboveOne, (6,), norm="inf"), ORACLES["sortnet"])


@pytest.mark.parametrize(("law", "layer"), REFUSED, ids=lambda item: item.__name__)
def test_law_refuses(law, layer):
    with pytest.raises(AssertionError):
        law(laws.Subject(layer, (6,)))


def test_oracle_refuses_a_cancelled_q():
    with pytest.raises(AssertionError):
        laws.law_09_equals_the_dense_oracle(laws.Subject(CancelledQ, (6,)), ORACLES["sll"])


def test_that_compiles_law_refuses_a_graph_break():
    with pytest.raises(torch._dynamo.exc.Unsupported):
        laws.law_11_compiles_whole(laws.Subject(BreaksTheGraph, (6,)))


def test_every_law_has_a_layer_that_breaks_it():
    tried = {law for law, *_ in (*REFUSED, *REFUSED_CELLS, *REFUSED_IN_L_INFINITY)} | {laws.law_11_compiles_whole}
    assert tried == set(laws.LAWS)
