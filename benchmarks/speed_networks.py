"""Networks to compare this package's with: the formula, written plainly, and the same network without rescaling."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import sll_zoo
from sll_zoo.models import LipNet

NAMES = ("ours", "formula", "plain")


class FormulaLayer(nn.Module):
    """x − 2 Vᵀ T⁻¹ relu(V x + b), Tᵢ = Σⱼ |V Vᵀ|ᵢⱼ qⱼ/qᵢ, with T computed at every forward and derived by autograd."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty_like(weight))
        self.bias, self.log_q = (nn.Parameter(weight.new_empty(len(weight))) for _ in range(2))

    def t(self) -> Tensor:
        """Return the diagonal of T."""
        q = self.log_q.exp()
        if self.weight.ndim == 2:
            return (self.weight @ self.weight.mT).abs() @ q / q
        padding = self.weight.shape[-1] - 1
        return F.conv2d(self.weight, self.weight, padding=padding).abs().sum((2, 3)) @ q / q

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        if self.weight.ndim == 2:
            return x - 2 * F.linear(F.relu(F.linear(x, self.weight, self.bias)) / self.t(), self.weight.mT)
        padding = self.weight.shape[-1] // 2
        units = F.relu(F.conv2d(x, self.weight, self.bias, padding=padding)) / self.t()[:, None, None]
        return x - 2 * F.conv_transpose2d(units, self.weight, padding=padding)


class PlainLayer(FormulaLayer):
    """x − Vᵀ relu(V x + b): the layer without rescaling, the limit of its speed."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        if self.weight.ndim == 2:
            return x - F.linear(F.relu(F.linear(x, self.weight, self.bias)), self.weight.mT)
        padding = self.weight.shape[-1] // 2
        units = F.relu(F.conv2d(x, self.weight, self.bias, padding=padding))
        return x - F.conv_transpose2d(units, self.weight, padding=padding)


class UnitRows(nn.Linear):
    """A linear layer with rows divided by their norms."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return F.linear(x, F.normalize(self.weight, dim=1), self.bias)


class Network(nn.Module):
    """A network of the shapes and with the weights of ``model``, of layers of one of the classes above."""

    def __init__(self, model: LipNet, layer: type[FormulaLayer]) -> None:
        super().__init__()
        config = model.config
        self.limit = layer is PlainLayer
        self.patches = nn.PixelUnshuffle(config.patch)
        self.pool, self.extra = config.pool, config.width - config.least_width
        self.register_buffer("mean", model.center.mean)
        self.convs = nn.Sequential(*(layer(old.weight) for old in model.convs))
        self.denses = nn.Sequential(*(layer(old.weight) for old in model.denses))
        self.head = UnitRows(config.num_features, config.num_classes)
        state = {key.replace("center.", ""): value for key, value in model.state_dict().items()}
        if layer is PlainLayer:  # without rescaling the weights are made small, so that nothing overflows
            state = {key: value / 10 if key.endswith("weight") else value for key, value in state.items()}
        self.load_state_dict(state)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images in [0, 1]."""
        x = F.pad(self.patches(x - self.mean), (0, 0, 0, 0, 0, self.extra))
        if self.limit and x.device.type in ("cpu", "cuda") and x.dtype == torch.float32:
            x = x.contiguous(memory_format=torch.channels_last)  # as ours does, since that is faster there
        x = self.convs(x)
        return self.head(self.denses(F.avg_pool2d(x, self.pool, divisor_override=self.pool).flatten(1)))


def build(model: str, name: str, device: torch.device) -> nn.Module:
    """Return one of ``NAMES``, all with the same weights, in its training form."""
    torch.manual_seed(0)
    ours = sll_zoo.create_model(model)
    layers = {"formula": FormulaLayer, "plain": PlainLayer}
    return (Network(ours, layers[name]) if name in layers else ours).to(device)
