"""Convolutions from many channels to few on a GPU, in half precision: where cuDNN waits for memory, each image is read once.

A convolution from 90 channels to 5 has 45 taps of 90 numbers. Here it is one product, of 45 × 90 numbers with those of every
pixel, and a sum over the taps of neighbouring pixels. The adjoint gathers the patches of the 5 channels where it multiplies them.

On an H200, with torch 2.11 and CUDA graphs, a training step of ``sll_large`` with 512 images took 52 ms, and 142 with cuDNN's
convolutions; in both, T of all convolutions was computed at once, without which it took 59. Its gradient by the kernels is as far
from that in float32: 0.026 and 0.025 rad.
"""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager
from functools import cache
from importlib.util import find_spec
from subprocess import SubprocessError
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

# The most taps and channels for which a program holds a whole matrix.
MOST_TAPS, MOST_CHANNELS = 64, 128
# Sizes that were fast on an H200: pixels that a program takes at a time, programs among which the images of a batch are divided,
# and sums of one program.
PIXELS, PROGRAMS, BLOCK = 64, 264, 1024
# The first GPUs whose tensor cores multiply in bfloat16.
AMPERE = (8, 0)


def has_few_channels(kernel: Tensor) -> bool:
    """Return whether to use the class below: in half precision on a GPU, if taps are no more than the channels they read."""
    out, channels, edge, _ = kernel.shape
    return (
        kernel.device.type == "cuda"
        and kernel.dtype in (torch.bfloat16, torch.float16)
        and out * edge * edge <= min(channels, MOST_TAPS)
        and channels <= MOST_CHANNELS
        and _executes_kernels(kernel.device)
    )


@cache
def _executes_kernels(device: torch.device) -> bool:
    if find_spec("triton") is None or torch.cuda.get_device_capability(device) < AMPERE:
        return False
    kernel, image = (torch.zeros(1, 9, 3, 3, dtype=torch.bfloat16, device=device) for _ in range(2))
    try:
        FewChannels(kernel).product(image)
    except (RuntimeError, OSError, SubprocessError, ImportError) as error:  # of Triton, such as without a C compiler
        warnings.warn(f"Triton does not work here ({error}): convolutions are PyTorch's, and slower", stacklevel=2)
        return False
    return True


class FewChannels:
    """A zero-padded convolution of odd kernels as a matrix, (out k k, channels), for batches that are not empty.

    Args:
        kernel: (out, channels, k, k).
    """

    def __init__(self, kernel: Float[Tensor, "out c k k"]) -> None:
        from sll_zoo.functional.fast import triton_kernels

        self.kernels: Any = triton_kernels
        self.out, self.channels, self.edge, _ = kernel.shape
        self.matrix = kernel.flip(2, 3).permute(0, 2, 3, 1).flatten(0, 2).contiguous()
        self.tile = {"EDGE": self.edge, "TAPS": _tile(len(self.matrix)), "CHANNELS": _tile(self.channels), "PIXELS": PIXELS}

    def product(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch out h w"]:
        """Return the cross-correlation of x and the kernel."""
        products = torch.bmm(self.matrix.expand(len(x), -1, -1), x.contiguous().flatten(2))
        sums = x.new_empty(len(x), self.out, *x.shape[2:])
        grid = (-(-sums.numel() // BLOCK),)
        with _device_of(x):
            self.kernels.summed[grid](products, sums, sums.numel(), *x.shape[2:], EDGE=self.edge, BLOCK=BLOCK)
        return sums

    def add_adjoint(
        self, x: Float[Tensor, "batch c h w"], units: Float[Tensor, "batch out h w"], sign: int, out: Tensor | None
    ) -> Float[Tensor, "batch c h w"]:
        """Return x ± the adjoint of units, written over ``out``, contiguous, if there is one."""
        x = x.contiguous()
        result = torch.empty_like(x) if out is None else out
        grid = (len(x), -(-x[0, 0].numel() // PIXELS))
        with _device_of(x):
            self.kernels.adjoint_added[grid](
                x, units.contiguous(), self.matrix, result, float(sign), self.out, *x.shape[1:], **self.tile
            )
        return result

    def by_kernel(self, x: Float[Tensor, "batch c h w"], units: Float[Tensor, "batch out h w"]) -> Float[Tensor, "out c k k"]:
        """Return the derivative of ⟨units, product(x)⟩ by the kernel, summed over the batch, in float32."""
        programs, tile = min(PROGRAMS, len(x)), self.tile
        sums = torch.empty(programs, tile["TAPS"], tile["CHANNELS"], device=x.device)
        given = x.contiguous(), units.contiguous(), sums, len(x), self.out, *x.shape[1:]
        with _device_of(x):
            self.kernels.outer_products[(programs,)](*given, **tile)
        of_matrix = sums.sum(0)[: len(self.matrix), : self.channels]
        return torch.unflatten(of_matrix, 0, (self.out, self.edge, self.edge)).permute(0, 3, 1, 2).flip(2, 3)


def _device_of(x: Tensor) -> AbstractContextManager[None]:
    """Return a context in which kernels start on the device of ``x``."""
    context: AbstractContextManager[None] = torch.cuda.device_of(x)  # type: ignore[no-untyped-call]  # of torch
    return context


def _tile(size: int) -> int:
    """Return the least power of two that is at least ``size`` and 16, as tensor cores take them."""
    return max(16, 1 << (size - 1).bit_length())
