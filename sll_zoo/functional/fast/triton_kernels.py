"""Kernels of :mod:`~sll_zoo.functional.fast.few_channels` in Triton, which comes with PyTorch for GPUs.

A convolution is here a matrix (out · taps, channels), the taps of an output channel one behind the other. Its adjoint at a pixel
is the sum over the taps of the units at pixel + tap; the convolution that of the products at pixel − tap.
"""

# mypy: ignore-errors
import triton
import triton.language as tl


@triton.jit
def summed(products, sums, size, height, width, EDGE: tl.constexpr, BLOCK: tl.constexpr):
    """Add up the products of each tap, (batch, out · taps, pixels), into (batch, out, pixels)."""
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    pixels = height * width
    plane, pixel = place // pixels, place % pixels  # a plane is an output channel of an image
    row, column = pixel // width, pixel % width
    result = tl.full((BLOCK,), 0.0, tl.float32)
    for tap in tl.static_range(EDGE * EDGE):
        down, right = row - (tap // EDGE - EDGE // 2), column - (tap % EDGE - EDGE // 2)
        inside = (place < size) & (down >= 0) & (down < height) & (right >= 0) & (right < width)
        at = (plane * (EDGE * EDGE) + tap) * pixels + down * width + right
        result += tl.load(products + at, mask=inside, other=0.0).to(tl.float32)
    tl.store(sums + place, result.to(sums.dtype.element_ty), mask=place < size)


@triton.jit
def patches(units, image, pixel, out, height, width, EDGE: tl.constexpr, TAPS: tl.constexpr):
    """Return the patches (TAPS, pixels) of one image of units (batch, out, height, width), and 0 for what is no tap."""
    index = tl.arange(0, TAPS)
    channel, tap = index // (EDGE * EDGE), index % (EDGE * EDGE)
    row = (pixel // width)[None, :] + (tap // EDGE - EDGE // 2)[:, None]
    column = (pixel % width)[None, :] + (tap % EDGE - EDGE // 2)[:, None]
    inside = (channel < out)[:, None] & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    at = (image * out + channel)[:, None] * (height * width) + row * width + column
    return tl.load(units + at, mask=inside, other=0.0)


@triton.jit
def adjoint_added(
    x,
    units,
    matrix,
    result,
    sign,
    out,
    channels,
    height,
    width,
    EDGE: tl.constexpr,
    TAPS: tl.constexpr,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """Write x ± the adjoint of units, (batch, channels, pixels): PIXELS of one image."""
    image, pixel = tl.program_id(0).to(tl.int64), tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    tap, channel = tl.arange(0, TAPS), tl.arange(0, CHANNELS)
    taken = (channel < channels)[:, None] & (tap < out * EDGE * EDGE)[None, :]
    weights = tl.load(matrix + tap[None, :] * channels + channel[:, None], mask=taken, other=0.0)
    adjoint = tl.dot(weights, patches(units, image, pixel, out, height, width, EDGE, TAPS))
    at = (image * channels + channel)[:, None] * (height * width) + pixel[None, :]
    inside = (channel < channels)[:, None] & (pixel < height * width)[None, :]
    sums = tl.load(x + at, mask=inside, other=0.0).to(tl.float32) + sign * adjoint
    tl.store(result + at, sums.to(result.dtype.element_ty), mask=inside)


@triton.jit
def outer_products(
    x,
    units,
    result,
    batch,
    out,
    channels,
    height,
    width,
    EDGE: tl.constexpr,
    TAPS: tl.constexpr,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """Write the sum of patches times x over every n-th image, n being the number of programs: (n, TAPS, CHANNELS)."""
    program, channel, tap = tl.program_id(0).to(tl.int64), tl.arange(0, CHANNELS), tl.arange(0, TAPS)
    sums = tl.full((TAPS, CHANNELS), 0.0, tl.float32)
    for turn in range((batch + tl.num_programs(0) - 1) // tl.num_programs(0)):
        image = program + turn * tl.num_programs(0)
        for start in range(0, height * width, PIXELS):
            pixel = start + tl.arange(0, PIXELS)
            at = (image * channels + channel)[:, None] * (height * width) + pixel[None, :]
            inside = (image < batch) & (channel < channels)[:, None] & (pixel < height * width)[None, :]
            values = tl.load(x + at, mask=inside, other=0.0)
            beside = patches(units, tl.minimum(image, batch - 1), pixel, out, height, width, EDGE, TAPS)
            sums += tl.dot(beside, tl.trans(values))
    at = (program * TAPS + tap)[:, None] * CHANNELS + channel[None, :]
    tl.store(result + at, sums)
