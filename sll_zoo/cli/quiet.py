"""What a command that trains sets for the whole process, and gives back."""

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
    ".*smaller than the logging interval.*",  # what is logged once an epoch is logged all the same
    ".*does not have many workers.*",  # data held in memory need none
    ".*LeafSpec.*is deprecated.*",  # between Lightning 2.6 and torch 2.15
    "LightningCLI's args parameter.*",  # they are the command line's
    "The dirpath has changed from.*",  # each run logs to a folder of its own
    ".*distributed.nn.functional.all_gather is deprecated.*",  # between Lightning 2.6 and torch 2.15
)
# Of the environment, what Lightning sets to seed other processes and for ``deterministic``.
VARIABLES = ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "CUBLAS_WORKSPACE_CONFIG")


@contextmanager
def quiet_lightning(*more: type[Warning]) -> Iterator[None]:
    """Silence what Lightning says about hardware, and the warnings that are not for the user of a command line.

    Afterwards warnings and loggers are as before, and so is what Lightning seeds and switches for the whole process.

    Args:
        *more: Kinds of warnings to silence, too.
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
    """Give back warnings, loggers, generators of random numbers and switches as they were."""
    levels = {logger: logger.level for logger in map(logging.getLogger, LOGGERS)}
    variables = {name: os.environ.get(name) for name in VARIABLES}
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    benchmark = torch.backends.cudnn.benchmark
    generators = ExitStack()  # those of a GPU only if there are any yet: to ask for them would make them
    generators.enter_context(isolate_rng(include_cuda=torch.cuda.is_initialized()))  # type: ignore[no-untyped-call]  # of torch
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
