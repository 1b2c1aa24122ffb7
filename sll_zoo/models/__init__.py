"""Networks: a frozen configuration and the one class that builds a network from it."""

from sll_zoo.models.config import LipNetConfig
from sll_zoo.models.lipnet import LipNet

__all__ = ["LipNet", "LipNetConfig"]
