"""The package's exceptions: each says what is wrong, with the value, and what to do about it."""

from __future__ import annotations

from numbers import Real
from typing import TypeGuard


class SllZooError(Exception):
    """A mistake that the user can mend.

    Args:
        problem: What is wrong, with the offending value.
        remedy: What to do about it.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        """Return both halves as one sentence."""
        return f"{self.problem}: {self.remedy}"


class ConfigError(SllZooError, ValueError):
    """A network or layer that cannot be built as asked."""


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a number, NaN and infinity among them; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def require_integer(name: str, value: object, at_least: int = 1) -> None:
    """Raise ConfigError unless a setting is an integer of at least so much; True and False are none."""
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise ConfigError(f"{name}={value!r}", f"give an integer of at least {at_least}")


class InputError(SllZooError, ValueError):
    """Images, logits or labels that a network, a certificate or a metric cannot accept."""


class UnknownNameError(SllZooError, LookupError):
    """A model, tag, family or data set that does not exist."""


class WeightsError(SllZooError, RuntimeError):
    """Weights that are missing, damaged, or not those of the model that asks for them."""


class PublishError(SllZooError, RuntimeError):
    """Weights that are not fit to be published, or that the Hub refuses."""


class ExportError(SllZooError, RuntimeError):
    """A file for deployment that cannot be written, or that does not agree with PyTorch."""


class CheckpointError(SllZooError, RuntimeError):
    """A checkpoint that cannot be written or read, or a folder of checkpoints that another training is writing to."""


class DivergedError(SllZooError, ArithmeticError):
    """A training whose loss, gradients or weights are no longer finite."""


class UntrainedHeadWarning(UserWarning):
    """The body of a model is pretrained, its new head is not."""


class Interrupted(SystemExit):
    """A training that ended because it was asked to, with a checkpoint where that was possible.

    Args:
        signum: Number of the signal that asked for the end.
        message: Where the training stopped and how to resume it, in one line; empty on all processes but one.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message or 128 + signum)
        self.signum = signum
        self.message = message
