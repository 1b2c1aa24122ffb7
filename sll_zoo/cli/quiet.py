"""Settings of a command that trains, for the whole process, and how they are restored."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from lightning.pytorch.utilities.seed import isolate_rng

LOGGERS = ("lightning.fabric", "lightning.pytorch")
MESSAGES = (
    ".*smaller than the logging interval.*",  # values of an epoch are logged anyway
    ".*does not have many workers.*",  # data held in memory need no workers
    ".*LeafSpec.*is deprecated.*",  # between Lightning 2.6 and torch 2.15
    "LightningCLI's args parameter.*",  # ``args`` are those of the command line
    "The dirpath has changed from.*",  # each run logs to a folder of its own
    ".*distributed.nn.functional.all_gather is deprecated.*",  # between Lightning 2.6 and torch 2.15
)
# Environment variables that Lightning sets, to seed other processes and for ``deterministic``.
VARIABLES = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "CUBLAS_WORKSPACE_CONFIG")


@contextmanager
def quiet_lightning(*more: type[Warning]) -> Iterator[None]:
    """Silence Lightning's messages about hardware, and warnings that are not for the user of a command line.

    Afterwards warnings, loggers, random numbers and the switches that Lightning sets for the whole process are as before.

    Args:
        *more: Further kinds of warnings to silence.
    """
    with _process_as_before():
        for name in LOGGERS:
            logging.getLogger(name).setLevel(logging.WARNING)
        for message in MESSAGES:
            warnings.filterwarnings("ignore", message=message)
        for kind in more:
            warnings.simplefilter("ignore", kind)
        yield


@contextmanager
def _process_as_before() -> Iterator[None]:
    """Restore warnings, loggers, generators of random numbers and switches after the block."""
    levels = {logger: logger.level for logger in map(logging.getLogger, LOGGERS)}
    variables = {name: os.environ.get(name) for name in VARIABLES}
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    generators = ExitStack()  # a GPU's only if CUDA is in use already: asking for them would start it
    generators.enter_context(isolate_rng(include_cuda=torch.cuda.is_initialized()))  # type: ignore[no-untyped-call]  # torch does not annotate it
    try:
        with warnings.catch_warnings():
            yield
    finally:
        generators.close()
        torch.backends.cudnn.benchmark = benchmark
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        for name, value in variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        for logger, level in levels.items():
            logger.setLevel(level)
