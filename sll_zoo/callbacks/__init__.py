"""What happens around a training, one Lightning callback a file."""

from sll_zoo.callbacks.certificates import WriteCertificates
from sll_zoo.callbacks.checkpoints import ResumableCheckpoint
from sll_zoo.callbacks.export import ExportModel
from sll_zoo.callbacks.interruption import Interrupted
from sll_zoo.callbacks.seeding import SeededBatches
from sll_zoo.callbacks.watch import FiniteWatch

__all__ = ["ExportModel", "FiniteWatch", "Interrupted", "ResumableCheckpoint", "SeededBatches", "WriteCertificates"]
