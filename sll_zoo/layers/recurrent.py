"""Recurrent layers: one that is 1-Lipschitz over the whole sequence, and the published Lipschitz RNN, without a certificate."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sll_zoo.errors import ConfigError, InputError, is_number
from sll_zoo.layers.parameters import require_sizes
from sll_zoo.layers.residual import ResidualStack


class Recurrent(nn.Module):
    """The last state of s ← P · cell([s, x_t]), s₀ = 0, where P keeps the last numbers: 1-Lipschitz over the whole sequence.

    It maps (batch, channels, steps, features), an image that is read row by row, to (batch, state), for any number of steps; an
    input x_t is the row of all channels, one after another. The layers of the cell and their weights are those of every step. A
    cell that is the identity makes the state a queue of the newest numbers of the sequence.

    Args:
        inputs: Numbers of one step, channels · features.
        state: Length of the state.
        layers: The cell: 1-Lipschitz layers on vectors of length state + inputs, in their order.

    Attributes:
        cell: The layers. If all are residual, T is computed once a sequence; other layers compute it at every step, and a folded
            cell computes none.

    Guarantee: ‖Δs_T‖² ≤ Σ_t ‖Δx_t‖², whatever the length T, if each layer of the cell is 1-Lipschitz. No step enlarges distances,
        ‖Δs_{t+1}‖² ≤ ‖Δ[s_t, x_t]‖² = ‖Δs_t‖² + ‖Δx_t‖², since P only drops numbers. There is no factor √T.

    Raises:
        ConfigError: A size below 1, or a cell without layers.
        InputError: In ``forward``, a sequence of no steps, or steps of another size.

    Example:
        >>> import torch
        >>> from sll_zoo.layers import SLLLinear
        >>> Recurrent(3, 5, SLLLinear(8, 4))(torch.zeros(2, 1, 17, 3)).shape
        torch.Size([2, 5])
    """

    def __init__(self, inputs: int, state: int, *layers: nn.Module) -> None:
        super().__init__()
        require_sizes((inputs, state))
        if not layers:
            raise ConfigError("a cell without layers", f"give one or more on vectors of length {state + inputs}")
        self.inputs, self.state = inputs, state
        self.cell = ResidualStack(*layers)

    def forward(self, x: Float[Tensor, "batch channels steps features"]) -> Float[Tensor, "batch state"]:
        """Return the state after the last step."""
        steps = self.steps(x)
        state, cell = x.new_zeros(x.shape[0], self.state), self.cell.prepared(x.dtype)
        for inputs in steps:
            state = cell(torch.cat([state, inputs], 1))[:, -self.state :]
        return state.contiguous()

    def steps(self, x: Float[Tensor, "batch channels steps features"]) -> tuple[Float[Tensor, "batch inputs"], ...]:
        """Return the input of each step.

        Raises:
            InputError: A sequence of no steps, or steps of another size.
        """
        if x.ndim != 4 or x.shape[2] < 1 or x.shape[1] * x.shape[3] != self.inputs:
            raise InputError(
                f"sequences of shape {tuple(x.shape)}",
                f"give (batch, channels, steps, features), at least one step, and channels * features = {self.inputs}",
            )
        return x.movedim(2, 1).flatten(2).unbind(1)

    def extra_repr(self) -> str:
        """Return the sizes, for ``print(model)``."""
        return f"{self.inputs}, {self.state}"


class LipschitzRNNCell(nn.Module):
    """One step of the published Lipschitz RNN, h ← h + ε (A h + tanh(W h + U x + b)), without any certificate.

    A = (1 − β)(M_A + M_Aᵀ) + β (M_A − M_Aᵀ) − γ I, and W likewise from M_W. At β = 1 every eigenvalue of A has the real part −γ,
    so that states neither explode nor vanish soon; below, it takes a γ that is large enough for M_A.

    "Lipschitz" is what tanh is: no constant of the map from a sequence to the state is known, let alone 1. This class has no
    ``pairwise_lipschitz``, and :func:`~sll_zoo.certify` refuses it; an attack can show what it has withstood, and no more.

    It maps (batch, inputs) and a state (batch, state) to the next state.

    Args:
        inputs: Numbers of one step.
        state: Length of the state.
        beta: β, from 0 (symmetric) to 1 (skew-symmetric), of both matrices.
        gamma: γ, of both matrices.
        epsilon: ε, the length of an Euler step.

    Raises:
        ConfigError: A size below 1, a β outside [0, 1], a γ that is negative or not finite, an ε that is not positive and finite.
        InputError: In ``forward``, inputs or a state of another shape.

    Example:
        >>> import torch
        >>> LipschitzRNNCell(3, 5)(torch.zeros(2, 3), torch.zeros(2, 5)).shape
        torch.Size([2, 5])

    Source: Erichson et al., "Lipschitz Recurrent Neural Networks", ICLR 2021 (arXiv 2006.12070), with explicit Euler steps; one β
    and one γ for both matrices, and the defaults, as its released code for pixels in order.
    """

    def __init__(self, inputs: int, state: int, beta: float = 0.75, gamma: float = 0.001, epsilon: float = 0.03) -> None:
        super().__init__()
        require_sizes((inputs, state))
        if not is_number(beta) or not 0 <= beta <= 1:
            raise ConfigError(f"beta={beta!r}", "give a number from 0 to 1")
        if not is_number(gamma) or not 0 <= gamma < math.inf:
            raise ConfigError(f"gamma={gamma!r}", "give a finite number of at least 0")
        if not is_number(epsilon) or not 0 < epsilon < math.inf:
            raise ConfigError(f"epsilon={epsilon!r}", "give a positive, finite number")
        self.beta, self.gamma, self.epsilon = beta, gamma, epsilon
        self.m_a, self.m_w = (nn.Parameter(torch.randn(state, state) / state) for _ in range(2))
        self.entry = nn.Linear(inputs, state)  # U and b

    def matrices(self) -> tuple[Float[Tensor, "state state"], Float[Tensor, "state state"]]:
        """Return A and W."""
        shift = self.gamma * torch.eye(len(self.m_a), dtype=self.m_a.dtype, device=self.m_a.device)
        a, w = ((1 - self.beta) * (m + m.mT) + self.beta * (m - m.mT) - shift for m in (self.m_a, self.m_w))
        return a, w

    def forward(self, x: Float[Tensor, "batch inputs"], state: Float[Tensor, "batch state"]) -> Float[Tensor, "batch state"]:
        """Return the next state."""
        inputs, length = self.entry.in_features, self.entry.out_features
        if x.shape[1:] != (inputs,) or state.shape != (len(x), length):
            raise InputError(
                f"inputs of shape {tuple(x.shape)} and a state of shape {tuple(state.shape)}",
                f"give (batch, {inputs}) and (batch, {length})",
            )
        a, w = self.matrices()
        return state + self.epsilon * (state @ a.mT + torch.tanh(state @ w.mT + self.entry(x)))

    def extra_repr(self) -> str:
        """Return the settings, for ``print(model)``."""
        return f"beta={self.beta}, gamma={self.gamma}, epsilon={self.epsilon}"
