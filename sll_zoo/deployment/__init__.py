"""Deployment: a network as one file for ``torch.export`` or ONNX, with its certified radii."""

from sll_zoo.deployment.exporting import Exported, export
from sll_zoo.deployment.formats import require_writable

__all__ = ["Exported", "export", "require_writable"]
