"""What can be chosen on the command line, named where no import takes long: ``--help`` answers before torch is loaded."""

from __future__ import annotations

from typing import Literal, get_args

# Commands that are Lightning's.
TRAINING = {
    "fit": "train a network from a YAML configuration (LightningCLI)",
    "validate": "measure a checkpoint on the validation images",
    "test": "measure clean and certified accuracy of a checkpoint on the held-out images",
    "predict": "certify the held-out images with a checkpoint and write each one's class and radius",
}
# Data sets whose held-out images a network can be measured on.
DATA_SETS = ("digits", "cifar10", "cifar100", "tiny_imagenet")
# Attacks.
METHODS = ("pgd", "autoattack")
# Of a weight.
Bits = Literal[2, 3, 4, 5, 6, 7, 8, 16, 32]
BITS: tuple[int, ...] = get_args(Bits)
# Of exported files.
DTYPES = ("float32", "float64")
