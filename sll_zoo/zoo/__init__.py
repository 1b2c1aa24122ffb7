"""The model zoo: names, weights, records, and the Hugging Face Hub."""

from sll_zoo.zoo.factory import create_model, list_models
from sll_zoo.zoo.publishing.pull import pull
from sll_zoo.zoo.weights.packing import quantize

__all__ = ["create_model", "list_models", "pull", "quantize"]
