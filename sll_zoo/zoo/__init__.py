"""The model zoo: names, weights and the Hub. The only place that touches files and the network."""

from sll_zoo.zoo.factory import create_model, list_models
from sll_zoo.zoo.packing import quantize
from sll_zoo.zoo.pull import pull

__all__ = ["create_model", "list_models", "pull", "quantize"]
