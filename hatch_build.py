"""A hook of hatchling that puts all small weights into a distribution, so that an installed package needs no network for them."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Largest size of one set of weights, and of all together, in bytes. A larger set comes from the Hub alone, as does one that was
# trained on a part of a data set. The wheel compresses them, and has 27 MB.
LARGEST_SET = 10_000_000
LARGEST_TOTAL = 32_000_000
PART = "_subset_"
# Files that are for the site alone: certificates of single images, and these images.
LEFT_OUT = ("samples.csv", "images.png")


class ShippedWeights(BuildHookInterface):
    """Put each small folder of ``checkpoints/`` into the wheel, inside the package, and into the source distribution."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the folders to hatchling's files, except for an editable installation, which finds them in the checkout."""
        if version == "editable":
            return
        sets = {folder: _size(folder) for folder in sorted(Path(self.root, "checkpoints").iterdir()) if folder.is_dir()}
        small = [folder for folder, size in sets.items() if size <= LARGEST_SET and PART not in folder.name]
        if (total := sum(sets[folder] for folder in small)) > LARGEST_TOTAL:
            raise ValueError(f"{total:,} bytes of weights, more than {LARGEST_TOTAL:,}: lower LARGEST_SET in hatch_build.py")
        package = "sll_zoo/" if self.target_name == "wheel" else ""
        build_data["force_include"] |= {
            str(path): f"{package}checkpoints/{folder.name}/{path.name}" for folder in small for path in _files(folder)
        }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.name not in LEFT_OUT]
