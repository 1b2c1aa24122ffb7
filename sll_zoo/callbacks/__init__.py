"""What happens around a training, one Lightning callback a file."""

from sll_zoo.callbacks.certificates import WriteCertificates
from sll_zoo.callbacks.export import ExportModel

__all__ = ["ExportModel", "WriteCertificates"]
