"""What other packages say that a user of the command line needs not hear."""

from __future__ import annotations

import logging
import warnings


def quiet_lightning() -> None:
    """Silence what Lightning says about hardware, and the warnings that are not for the user of a command line."""
    for package in ("lightning.fabric", "lightning.pytorch"):
        logging.getLogger(package).setLevel(logging.WARNING)
    for message in (
        ".*smaller than the logging interval.*",  # what is logged once an epoch is logged all the same
        ".*does not have many workers.*",  # data held in memory need none
        ".*LeafSpec.*is deprecated.*",  # between Lightning 2.6 and torch 2.15
        "LightningCLI's args parameter.*",  # they are the command line's
        "The dirpath has changed from.*",  # each run logs to a folder of its own
        ".*distributed.nn.functional.all_gather is deprecated.*",  # between Lightning 2.6 and torch 2.15
    ):
        warnings.filterwarnings("ignore", message=message)
