"""What happens around a training, one Lightning callback a file."""

from sll_zoo.callbacks.certificates import WriteCertificates
from sll_zoo.callbacks.checkpoints import ResumableCheckpoint
from sll_zoo.callbacks.diagnostics import LogDiagnostics
from sll_zoo.callbacks.export import ExportModel
from sll_zoo.callbacks.half_rescaling import BFloat16Rescaling
from sll_zoo.callbacks.progress_bar import ImageProgressBar
from sll_zoo.callbacks.seeding import SeededBatches
from sll_zoo.callbacks.sharding import ShardRescaling
from sll_zoo.callbacks.training_report import TrainingReport
from sll_zoo.callbacks.watch import FiniteWatch
from sll_zoo.errors import Interrupted

__all__ = [
    "BFloat16Rescaling",
    "ExportModel",
    "FiniteWatch",
    "ImageProgressBar",
    "Interrupted",
    "LogDiagnostics",
    "ResumableCheckpoint",
    "SeededBatches",
    "ShardRescaling",
    "TrainingReport",
    "WriteCertificates",
]
