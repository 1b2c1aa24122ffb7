"""The operations that take a call's time, by PyTorch's profiler."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

SHOWN = 8


def costs(call: Callable[[], object], device: torch.device) -> list[tuple[str, float, int]]:
    """Return the operations that take most of the device's time in a call: name, part of the time, and number of calls."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    call()
    with profile(activities=activities) as run:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
    measured = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    # Kernels are left out here: the operation that starts them has their time.
    operations = [event for event in run.key_averages() if event.device_type == DeviceType.CPU]
    whole = sum(getattr(event, measured) for event in operations)
    operations.sort(key=lambda event: getattr(event, measured), reverse=True)
    return [(event.key, getattr(event, measured) / max(whole, 1), event.count) for event in operations[:SHOWN]]
