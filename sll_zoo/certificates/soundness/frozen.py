"""A network whose certificates hold as it is executed: its rescalings are stored, and its rounding is bounded.

The theory is in the README beside this file.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from sll_zoo.certificates.bounds import lipschitz_upper_bound
from sll_zoo.certificates.soundness.arithmetic import DOUBLE, arithmetic_of
from sll_zoo.certificates.soundness.contraction import absolute, error_of_proof, operators, shrunk_until_proved
from sll_zoo.certificates.soundness.rounding import LARGEST_NORM, Rounding, rounding_of, rounding_of_logit
from sll_zoo.compat import is_compiled
from sll_zoo.errors import ConfigError, InputError, WeightsError
from sll_zoo.functional.fast.products import full_precision
from sll_zoo.functional.finite import require_finite
from sll_zoo.functional.norms import Norm, lengths
from sll_zoo.layers import FoldedCircular, FoldedLinearForm, FoldedResidual, FoldedSandwich, SortHead, UnitRowsLinear, fold
from sll_zoo.layers.seal import Sealed, changed, require_intact
from sll_zoo.models import LipschitzClassifier
from sll_zoo.models.chain import Call, parts, random_images, trace
from sll_zoo.models.structure import attachments, require_structure

# Factor that rounds a bound up: it covers the rounding of the bounds themselves, some hundred float64 operations.
ROUND_UP = 1 + 1e-9
# Name of the tensor of each folded form that is shrunk until the layer is proved to be 1-Lipschitz.
SHRUNK = {FoldedResidual: "step", FoldedLinearForm: "weight", FoldedCircular: "stored", FoldedSandwich: "stored"}


class FrozenNetwork(Sealed):
    """A network in evaluation form whose every layer is proved to be 1-Lipschitz with the weights as they are stored.

    It is made by :func:`freeze`. Its certificates by :func:`~sll_zoo.certify` hold for its ``forward`` on the machine that runs
    it: execute this network, in this dtype, uncompiled. If it is changed, it gives no constants any more.

    Args:
        network: The folded network, with a plain linear map for a head.
        chain: For each layer between the mean and the head, its rounding, and the norm of its input if the image is the mean.
        head: The same for one logit.

    Attributes:
        norm: Norm of its constants and radii.
        dtype: Dtype in which the network is executed.
    """

    constants: Tensor

    def __init__(self, network: LipschitzClassifier, chain: list[tuple[Rounding, float]], head: tuple[Rounding, float]) -> None:
        super().__init__()
        self.network = network
        self.norm = network.norm
        self.num_classes = network.num_classes
        self.dtype = network.center.mean.dtype
        self._chain, self._head = tuple(chain), head
        self.register_buffer("constants", _constants(network.head))
        self.eval()
        self.seal()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (batch, num_classes) of images in [0, 1], by kernels that sum products and do nothing else."""
        with ExitStack() as stack:
            if x.is_cuda:  # entered first: it fails once full_precision has set a precision
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))  # cuDNN may choose Winograd's convolution
            stack.enter_context(full_precision(x.device.type))
            stack.enter_context(torch.backends.nnpack.flags(enabled=False))
            logits: Tensor = self.network(x.to(self.dtype))
        return logits

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move the network, and refuse to change the type that its bounds are for."""
        dtype = fn(torch.zeros((), dtype=self.dtype)).dtype
        if dtype != self.dtype:
            raise InputError(f"converting a network frozen in {self.dtype} to {dtype}", f"freeze the model itself: dtype={dtype}")
        return cast("Self", super()._apply(fn, recurse))

    def pairwise_lipschitz(self) -> Tensor:
        """Return L (num_classes, num_classes) in float64: bounds from above, for the rows as they are stored.

        Raises:
            ConfigError: What :meth:`require_structure` raises.
            WeightsError: The network is not as it was frozen.
        """
        self.require_structure()
        if not self.is_intact():
            raise changed("the frozen network", self)
        return self.constants

    def require_structure(self) -> None:
        """Refuse a network that something was attached to since it was frozen.

        Raises:
            ConfigError: A hook, a replaced method, or a part that was compiled: rounding is then another.
        """
        for fault in attachments(self):
            raise fault.error()
        if any(map(is_compiled, self.modules())):
            raise ConfigError("a frozen network that was compiled", "freeze the original, and execute it as it is")

    def errors(self, images: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Return how far features and logits may be from the exact ones, at the images and anywhere in the balls around them.

        Args:
            images: (batch, channels, height, width) in float64.
            radius: Radius of each ball (batch,), in pixels of [0, 1].

        Returns:
            The error of the features, which includes the rounding of a perturbed image to floats, and the error that the head
            adds to each logit; both (batch,), in the network's norm.
        """
        return self._errors(lengths(images, self.norm), lengths(images - self.network.center.mean.double(), self.norm), radius)

    def error_coefficients(self) -> tuple[Tensor, Tensor]:
        """Return the two bounds of :meth:`errors` as numbers by which to multiply ‖x‖, ‖x − mean‖, the radius and 1.

        Returns:
            For the features and for a logit, (4,) each, in float64, rounded up; infinite or NaN where nothing is proved.
        """
        one_each = torch.eye(4, 3, dtype=torch.float64, device=self.constants.device)
        found = (
            ROUND_UP * (errors - torch.cat([errors[3:].expand(3), errors.new_zeros(1)])) for errors in self._errors(*one_each.mT)
        )
        features, logit = found
        return features, logit

    def _errors(self, length: Tensor, from_mean: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bounds of :meth:`errors`, sums of multiples of ‖x‖, ‖x − mean‖, the radius and 1; all (batch,)."""
        unit = 2 * arithmetic_of(self.dtype).unit
        far = ROUND_UP * from_mean + radius
        error = unit * (ROUND_UP * length + radius) + unit * far
        for rounding, norm in self._chain:
            error = error + rounding.at(norm + far + 2 * error)
        rounding, norm = self._head
        return ROUND_UP * error, ROUND_UP * rounding.at(norm + far + 2 * error)


def freeze(model: nn.Module, dtype: torch.dtype = torch.float64) -> FrozenNetwork:
    """Return the network as it is to be executed, with every layer proved to be 1-Lipschitz as stored and its rounding bounded.

    Rescalings are computed in float64 and shrunk (by 4e-13 to 3e-8 in the networks measured in float64) until a Cholesky
    decomposition proves the condition for the rounded numbers.

    Args:
        model: A network of the zoo; it is not changed.
        dtype: Dtype in which the network will be executed.

    Raises:
        ConfigError: A network that is not a chain of layers, has no logits, or has a layer of which no bound is known.
        WeightsError: A layer whose condition cannot be proved.
    """
    _check(model, dtype)
    network = _proved(cast("LipschitzClassifier", model), dtype)
    calls = _between_mean_and_head(network)
    # Norms are measured with the mean as the image: the first layer takes 0, and later inputs come from biases only.
    middle = network.center.mean.double().expand(1, *network.config.input_shape)
    at_mean = trace(copy.deepcopy(network).double(), middle).calls
    norms = [ROUND_UP * float(lengths(call.x, network.norm)) for call in at_mean[1:]]
    if not max(norms) < LARGEST_NORM / 2:
        raise WeightsError(
            f"biases make features of a norm of {max(norms):.3g}", f"train a network that stays below {LARGEST_NORM:.0e}"
        )
    arithmetic = arithmetic_of(dtype)
    chain = [(rounding_of(call.layer, call.x, arithmetic), norm) for call, norm in zip(calls, norms[:-1], strict=True)]
    of_logit = rounding_of_logit(network.head, at_mean[-1].x, arithmetic)
    return FrozenNetwork(network, chain, (of_logit, norms[-1]))


def _check(model: nn.Module, dtype: torch.dtype) -> None:
    """Refuse a model or a dtype that cannot be frozen."""
    if dtype not in (torch.float32, torch.float64):
        raise ConfigError(f"freezing in {dtype}", "choose torch.float64 or torch.float32")
    if not isinstance(model, LipschitzClassifier):
        raise ConfigError(
            f"freezing a {type(model).__name__}", "give a network of create_model, or a LipschitzClassifier of yours"
        )
    if not model.num_classes:
        raise ConfigError("num_classes=0: a network without logits has no certificate", "call reset_classifier(num_classes)")
    require_finite("the network", model.state_dict())
    require_structure(model)
    require_intact(model)


def _proved(model: LipschitzClassifier, dtype: torch.dtype) -> LipschitzClassifier:
    """Return a network folded, with a plain linear map for a head, and every layer before that proved to be 1-Lipschitz."""
    exact = cast("LipschitzClassifier", fold(model, torch.float64))
    network = copy.deepcopy(exact).to(dtype)
    if isinstance(head := exact.head, UnitRowsLinear):
        bias = None if head.bias is None else head.bias.to(dtype)
        network.head = FoldedLinearForm(head.unit_rows().to(dtype), bias, "zeros")
    for call in _between_mean_and_head(network):
        for part in parts(call):
            _shrink(part, exact.get_submodule(part.name), network.norm)
    return network


def _constants(head: nn.Module) -> Tensor:
    """Return L (classes, classes) in float64, bounds from above, for a head as it is stored."""
    if isinstance(head, SortHead):
        return head.pairwise_lipschitz() * max(1.0, lipschitz_upper_bound(head, head.weight, "inf")[1])
    weight = cast("FoldedLinearForm", head).weight.double()
    distances = torch.cdist(weight, weight, compute_mode="donot_use_mm_for_euclid_dist")
    return distances * (1 + DOUBLE.gamma(weight.shape[1] + 8))


def _between_mean_and_head(network: LipschitzClassifier) -> list[Call]:
    """Return the layers with an input each; ``require_structure`` has checked that they are a chain."""
    return trace(network, random_images(network, 1)).calls[1:-1]


def _shrink(call: Call, exact: nn.Module, norm: Norm) -> None:
    """Shrink what a layer stores until it is proved to be 1-Lipschitz; ``exact`` is the same layer in float64."""
    layer = call.layer
    if type(layer) not in SHRUNK or type(exact) is not type(layer):
        if not lipschitz_upper_bound(layer, call.x, norm)[1] <= 1:
            raise ConfigError(f"{call.name}, a {type(layer).__name__}, is not known to be 1-Lipschitz", "audit the network")
        return
    values, original = (getattr(form, SHRUNK[type(layer)]) for form in (layer, exact))

    def matrices(shrinkage: float) -> Tensor:
        values.copy_(original * (1 - shrinkage))
        return _contractions(layer, call.x)

    shrunk_until_proved(call.name, matrices, _error_of_proof(exact))


def _contractions(layer: Any, x: Tensor) -> Tensor:
    """Return, in float64, the matrices of a folded layer whose norms must be at most 1, for inputs like ``x``."""
    if isinstance(layer, FoldedCircular | FoldedSandwich):
        return layer.matrices().to(torch.complex128 if layer.size else torch.float64)
    return operators(_contraction(layer), x, layer.padding_mode)


def _error_of_proof(layer: Any) -> float:
    """Return the rounding error of the proof for the matrices of a folded layer."""
    if isinstance(layer, FoldedCircular | FoldedSandwich):
        entries = layer.matrices().abs()
        return error_of_proof(entries.view(-1, *entries.shape[-2:]).amax(0), terms=1)
    return error_of_proof(absolute(_contraction(layer)), terms=layer.weight[0, 0].numel())


def _contraction(layer: FoldedResidual | FoldedLinearForm) -> Tensor:
    """Return, in float64, the weight whose norm must be at most 1: W̃, or (S/2)^{1/2} V of a residual layer."""
    weight = layer.weight.double()
    if isinstance(layer, FoldedLinearForm):
        return weight
    return weight * (layer.step.double() / 2).sqrt().view(-1, *(1,) * (weight.ndim - 1))
