"""What a process does with its memory, in a process of its own."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from sll_zoo.training.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def work():
    return [torch.empty(2**25, dtype=torch.uint8).fill_(1) for _ in range(4)]
for _ in range(5):  # until each block has found its place among what was allocated before
    work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked to keep memory")
def test_memory_that_is_kept_is_not_asked_for_again():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "give back")
    }
    assert faults["keep"] < faults["give back"] / 10
