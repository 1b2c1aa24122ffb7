"""Networks: a frozen configuration for each, and the class that builds the network from it."""

from sll_zoo.models.classifier import LipschitzClassifier
from sll_zoo.models.config import LipConvNetConfig, LipNetConfig, NetworkConfig
from sll_zoo.models.lipconvnet import LipConvNet
from sll_zoo.models.lipnet import LipNet


def build(config: LipNetConfig | LipConvNetConfig) -> LipschitzClassifier:
    """Return the network of a configuration."""
    return LipNet(config) if isinstance(config, LipNetConfig) else LipConvNet(config)


__all__ = ["LipConvNet", "LipConvNetConfig", "LipNet", "LipNetConfig", "LipschitzClassifier", "NetworkConfig", "build"]
