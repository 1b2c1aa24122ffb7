"""What happens around a training, one Lightning callback a file."""

from sll_zoo.callbacks.certificates import WriteCertificates
from sll_zoo.callbacks.diagnostics import LogDiagnostics
from sll_zoo.callbacks.export import ExportModel
from sll_zoo.callbacks.progress_bar import ImageProgressBar
from sll_zoo.callbacks.training_report import TrainingReport

__all__ = ["ExportModel", "ImageProgressBar", "LogDiagnostics", "TrainingReport", "WriteCertificates"]
