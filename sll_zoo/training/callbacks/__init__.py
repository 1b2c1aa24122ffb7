"""Lightning callbacks for trainings, one in each file, and the helpers of some."""

from sll_zoo.errors import Interrupted
from sll_zoo.training.callbacks.certificates import WriteCertificates
from sll_zoo.training.callbacks.checkpoints import ResumableCheckpoint
from sll_zoo.training.callbacks.cuda_graphs import CUDAGraphs
from sll_zoo.training.callbacks.diagnostics import LogDiagnostics
from sll_zoo.training.callbacks.grow import Grow
from sll_zoo.training.callbacks.growing_power import GrowingPower
from sll_zoo.training.callbacks.half_rescaling import BFloat16Rescaling
from sll_zoo.training.callbacks.progress_bar import ImageProgressBar
from sll_zoo.training.callbacks.rounded_weights import RoundedWeights
from sll_zoo.training.callbacks.save_pretrained import SavePretrained
from sll_zoo.training.callbacks.seeding import SeededBatches
from sll_zoo.training.callbacks.sharding import ShardRescaling
from sll_zoo.training.callbacks.training_report import TrainingReport
from sll_zoo.training.callbacks.watch import FiniteWatch
from sll_zoo.training.stages import Stage

__all__ = [
    "BFloat16Rescaling",
    "CUDAGraphs",
    "FiniteWatch",
    "Grow",
    "GrowingPower",
    "ImageProgressBar",
    "Interrupted",
    "LogDiagnostics",
    "ResumableCheckpoint",
    "RoundedWeights",
    "SavePretrained",
    "SeededBatches",
    "ShardRescaling",
    "Stage",
    "TrainingReport",
    "WriteCertificates",
]
