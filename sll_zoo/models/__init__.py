"""Networks: a immutable configuration for each, and the class that builds the network from it."""

from sll_zoo.models.classifier import LipschitzClassifier
from sll_zoo.models.config import LipConvNetConfig, LipNetConfig, LipRNNConfig, NetworkConfig, SortNetConfig
from sll_zoo.models.lipconvnet import LipConvNet
from sll_zoo.models.lipnet import LipNet
from sll_zoo.models.liprnn import LipRNN
from sll_zoo.models.sortnet import SortNet


def build(config: NetworkConfig) -> LipschitzClassifier:
    """Return the network of a configuration."""
    if isinstance(config, LipNetConfig):
        return LipNet(config)
    if isinstance(config, LipRNNConfig):
        return LipRNN(config)
    if isinstance(config, SortNetConfig):
        return SortNet(config)
    assert isinstance(config, LipConvNetConfig)  # noqa: S101 - there is no other
    return LipConvNet(config)


__all__ = [
    "LipConvNet",
    "LipConvNetConfig",
    "LipNet",
    "LipNetConfig",
    "LipRNN",
    "LipRNNConfig",
    "LipschitzClassifier",
    "NetworkConfig",
    "SortNet",
    "SortNetConfig",
    "build",
]
