"""The certified recurrent layer over whole sequences, and the published one, which nothing certifies."""

import math
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

import sll_zoo
from sll_zoo.certificates.bounds import lipschitz_upper_bound
from sll_zoo.errors import ConfigError, InputError
from sll_zoo.layers import FAMILIES, LipschitzRNNCell, Recurrent, SLLLinear, UnitRowsLinear
from sll_zoo.models import LipRNNConfig, build
from tests import tolerances as tol
from tests.laws import LAWS, Subject
from tests.marks import slow_but
from tests.oracles import ORACLES, lipschitz_rnn, recurrent

RESIDUAL = [name for name, family in FAMILIES.items() if family.form == "residual"]
CONFIG = LipRNNConfig(width=5, cell_layers=2, cell_inner=4, dense_layers=1, dense_inner=3, in_chans=2, img_size=(6, 1))


def subject(family, steps):
    """Return a recurrent layer with a state of 4 on sequences of 2 channels and 1 feature."""
    return Subject(lambda: Recurrent(2, 4, FAMILIES[family].linear(6, 5)), (2, steps, 1), 4)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize(
    ("family", "steps"), slow_but([("sll", 1), ("sll", 17), ("sll4", 2), ("cpl", 2)], product(RESIDUAL, (1, 2, 17)))
)
def test_law_holds_over_whole_sequences(family, steps, law):
    law(subject(family, steps))


@pytest.mark.parametrize("steps", [1, 2, 17])
@pytest.mark.parametrize("family", [name for name in RESIDUAL if name in ORACLES])
def test_layer_equals_its_oracle(family, steps):
    layer, x = subject(family, steps).layer(), subject(family, steps).inputs()
    expected = recurrent(layer, x.numpy(), ORACLES[family])
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=0, atol=tol.SAME)


def test_a_cell_without_effect_makes_the_state_a_queue():
    layer = Recurrent(2, 5, nn.Identity())
    x = torch.arange(8.0).view(1, 2, 4, 1)  # steps (0, 4), (1, 5), (2, 6), (3, 7)
    assert layer(x).tolist() == [[5, 2, 6, 3, 7]]
    assert layer(x[:, :, :1]).tolist() == [[0, 0, 0, 0, 4]]


@pytest.mark.parametrize("shape", [(2, 1, 0, 3), (2, 1, 4, 2), (2, 3, 4, 3)])
def test_sequences_of_no_steps_or_of_other_sizes_are_refused(shape):
    with pytest.raises(InputError, match=r"at least one step, and channels \* features = 3"):
        Recurrent(3, 4, SLLLinear(7, 5))(torch.zeros(shape))


def test_a_network_refuses_another_number_of_steps():
    network = build(CONFIG)
    assert network(torch.rand(2, 2, 6, 1)).shape == (2, 10)
    with pytest.raises(InputError, match=r"\(batch, 2, 6, 1\)"):
        network(torch.rand(2, 2, 7, 1))


def test_cells_and_sizes_that_cannot_be_are_refused():
    for make in (partial(Recurrent, 3, 4), partial(Recurrent, 0, 4, nn.Identity()), partial(LipschitzRNNCell, 3, 0)):
        with pytest.raises(ConfigError):
            make()
    with pytest.raises(ConfigError, match=r"beta=1\.5"):
        LipschitzRNNCell(3, 4, beta=1.5)


def test_a_cell_that_stretches_is_found_with_the_power_that_is_left():
    network = sll_zoo.fold(build(CONFIG).double())
    assert sll_zoo.audit(network).problems == []
    x = torch.zeros(1, 2, 6, 1, dtype=torch.float64)
    network.recurrent.cell[1].step.mul_(1.2)
    part = lipschitz_upper_bound(network.recurrent.cell[1], torch.zeros(1, 7, dtype=torch.float64))[1]
    margin, bound = lipschitz_upper_bound(network.recurrent, x)
    assert part > 1
    assert margin < 0
    assert bound == pytest.approx(part**6)
    (problem,) = sll_zoo.audit(network).problems
    assert problem.startswith("recurrent (Recurrent): its constant is between")


@pytest.mark.parametrize("layer", [nn.Linear(7, 7), nn.GELU(), UnitRowsLinear(7, 7)])
def test_a_cell_of_unknown_layers_has_no_certificate(layer):
    network = build(CONFIG)
    network.recurrent.cell.append(layer)
    with pytest.raises(ConfigError):
        sll_zoo.certify(network.eval(), torch.rand(1, 2, 6, 1))


def test_no_sequence_within_its_radius_has_another_class():
    torch.manual_seed(0)
    network, images = build(CONFIG).eval(), torch.rand(20, 2, 6, 1)
    found = sll_zoo.attack(network, images, torch.zeros(20, dtype=torch.long), [0.1], steps=30, restarts=1)
    assert not found.violations.any()
    assert (found.radius > 0).all()


def test_the_published_cell_equals_its_oracle_and_is_not_certified():
    torch.manual_seed(0)
    cell = LipschitzRNNCell(3, 5, beta=0.6, gamma=0.2, epsilon=0.1).double()
    x, state = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 5, dtype=torch.float64)
    expected = [lipschitz_rnn(cell, *pair) for pair in zip(x.numpy(), state.numpy(), strict=True)]
    np.testing.assert_allclose(cell(x, state).detach().numpy(), expected, rtol=0, atol=tol.SAME)
    with pytest.raises(InputError, match="pairwise_lipschitz"):
        sll_zoo.certify(cell, torch.rand(2, 1, 3, 5))


def test_at_beta_one_the_published_states_neither_explode_nor_vanish_soon():
    cell = LipschitzRNNCell(3, 5, beta=1.0, gamma=0.2).double()
    a, _ = cell.matrices()
    torch.testing.assert_close(torch.linalg.eigvals(a).real, torch.full((5,), -0.2, dtype=torch.float64), rtol=0, atol=tol.SAME)


@pytest.mark.parametrize(
    "options",
    [
        {"beta": 1.5},
        {"beta": "1"},
        {"beta": True},
        {"gamma": None},
        {"epsilon": "0.1"},
        {"gamma": -1.0},
        {"gamma": math.nan},
        {"epsilon": 0.0},
        {"epsilon": math.inf},
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_settings_of_the_published_cell_that_are_none_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(ConfigError, match=f"{name}={value!r}"):
        LipschitzRNNCell(2, 3, **options)


@pytest.mark.parametrize(("inputs", "state"), [((2, 1), (2, 3)), ((2, 2), (1, 3)), ((2, 2), (2, 4)), ((2,), (2, 3))])
@pytest.mark.usefixtures("unchecked")
def test_steps_of_another_shape_are_refused_and_states_never_repeated(inputs, state):
    with pytest.raises(InputError, match="state of shape"):
        LipschitzRNNCell(2, 3)(torch.rand(inputs), torch.rand(state))
