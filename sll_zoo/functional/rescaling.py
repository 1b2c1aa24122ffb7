"""The choices of T in the condition WᵀW ≼ T, and what is needed to apply 1/T safely.

Notation of the code: ``weight`` is V = Wᵀ, one row (dense) or kernel (convolution) for each inner unit, so that WᵀW = V Vᵀ.
Reference: Araujo et al., "A Unified Algebraic Perspective on Lipschitz Neural Networks", ICLR 2023 (arXiv 2303.03169v2).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from sll_zoo.functional.fast.convolutions import abs_gram_by_products, products_are_faster
from sll_zoo.functional.fast.gram import abs_gram_product
from sll_zoo.functional.fast.products import full_precision

# Product(weight, scale, q) is Σⱼ |V Vᵀ|ᵢⱼ qⱼ with V = weight / scale.
Product = Callable[[Tensor, Tensor, Tensor], Tensor]
# log q is clamped to ±LOG_Q_LIMIT: q_j / q_i stays below e^40, far from float32's overflow at e^88. Any q > 0 gives a valid T.
LOG_Q_LIMIT = 20.0
# Weights whose largest entry is above this, or below its inverse, are scaled to about 1 before they are multiplied.
FAR = 2.0**8


def abs_gram(weight: Float[Tensor, "inner *kernel"]) -> Float[Tensor, "inner inner"]:
    """Return |WᵀW| as a matrix that bounds the operator unit by unit.

    Dense: ``|V Vᵀ|ᵢⱼ``. Convolution: ``Σ_δ |(K ⋆ K)ᵢⱼ[δ]|``, the absolute row sum of the (infinite) Toeplitz operator, which
    bounds circular and zero padding alike, because a zero-padded convolution is a compression of the infinite one.

    Args:
        weight: (inner, features), or (inner, channels, k, k) with k odd.

    Returns:
        A symmetric nonnegative matrix, in float32 at least.

    Source: AOL, Prach and Lampert 2022 (arXiv 2208.03160), for the convolution.
    """
    weight = weight.to(torch.promote_types(weight.dtype, torch.float32))
    if weight.ndim == 2:
        return (weight @ weight.mT).abs()
    if products_are_faster(weight, weight):
        return abs_gram_by_products(weight)
    return F.conv2d(weight, weight, padding=weight.shape[-1] - 1).abs().sum((2, 3))


def gershgorin(gram: Float[Tensor, "inner inner"], log_q: Float[Tensor, " inner"]) -> Float[Tensor, " inner"]:
    """Return the diagonal of SLL's T: ``Tᵢ = Σⱼ |WᵀW|ᵢⱼ qⱼ / qᵢ``.

    WᵀW ≼ diag(T) for every q > 0, by the weighted inequality of arithmetic and geometric means. Only q up to a factor matters, so
    log q is centred; it is also clamped to ±``LOG_Q_LIMIT``, and has no gradient beyond. q = 1 is AOL's T.

    Args:
        gram: |WᵀW| of :func:`abs_gram`.
        log_q: The logarithm of q.

    Source: equation 8 of the paper. The authors' convolution divides by the same qᵢ it multiplies by, so that their
    q has no effect; here it acts on two axes.
    """
    log_q = _bounded(log_q, gram.dtype)
    return (gram @ log_q.exp()) * (-log_q).exp()


def row_sums(
    weight: Float[Tensor, "inner *kernel"],
    scale: Float[Tensor, ""],
    log_q: Float[Tensor, " inner"],
    product: Product = abs_gram_product,
) -> Float[Tensor, " inner"]:
    """Return SLL's T of ``weight / scale``: :func:`gershgorin` of :func:`abs_gram`, in less time and memory for a dense weight.

    Args:
        weight: V, (inner, features) or (inner, channels, k, k).
        scale: A positive constant, as :func:`unit_scale` gives.
        log_q: The logarithm of q.
        product: Computes ``|V Vᵀ| q`` from a dense weight, its scale and q.
    """
    if weight.ndim == 4:
        return gershgorin(abs_gram(weight.to(scale.dtype) / scale), log_q)
    log_q = _bounded(log_q, scale.dtype)
    return product(weight, scale, log_q.exp()) * (-log_q).exp()


def _bounded(log_q: Tensor, dtype: torch.dtype) -> Tensor:
    log_q = log_q.to(dtype)
    return (log_q - log_q.mean()).clamp(-LOG_Q_LIMIT, LOG_Q_LIMIT)


def tightened(weight: Float[Tensor, "inner *kernel"], log_q: Float[Tensor, " inner"], power: int) -> Float[Tensor, " inner"]:
    """Return the diagonal ``Tᵢ = (Σⱼ |(WᵀW)ᵏ|ᵢⱼ qⱼ/qᵢ)^{1/k}``, k = ``power``: as valid as SLL's T, and often smaller.

    Gershgorin on the k-th power gives (WᵀW)ᵏ ≼ D; the k-th root is operator monotone (Loewner and Heinz), so WᵀW ≼ D^{1/k}.
    k = 1 is SLL; as k grows, T tends to ‖W‖² I. At random weights a larger k is tighter; at trained ones it need not be
    (``benchmarks/rescalings.md``). Powers are taken by repeated squaring, the largest entry brought back to 1 each time.

    Args:
        weight: V, (inner, features) or (inner, channels, k, k).
        log_q: The logarithm of q.
        power: k, a power of 2.

    Source: spectral rescaling, Delattre, Barthélemy and Allauzen 2024 (arXiv 2402.00240), with q.
    """
    if power == 1:
        return gershgorin(abs_gram(weight), log_q)
    absolute, log_scale = _abs_gram_power(weight.to(torch.promote_types(weight.dtype, torch.float32)), power)
    # Raising a sum to the floor makes T larger, which keeps it valid.
    return ((floored_log(gershgorin(absolute, log_q)) + log_scale) / power).exp()


def _abs_gram_power(weight: Tensor, power: int) -> tuple[Tensor, Tensor]:
    """Return the matrix |(WᵀW)ᵏ| (inner, inner) divided by e^s, and s."""
    size = 1
    if weight.ndim == 4:
        # The power of the infinite operator reaches power · (k − 1) pixels: a torus of this size holds it without wrapping round.
        size = 2 * power * (weight.shape[-1] - 1) + 1
        weight = torch.fft.rfft2(weight, s=(size, size)).permute(2, 3, 0, 1)
    gram, log_scale = gram_power(weight, power)
    if gram.ndim == 4:
        return torch.fft.irfft2(gram.permute(2, 3, 0, 1), s=(size, size)).abs().sum((2, 3)), log_scale
    return gram.abs(), log_scale


def gram_power(operators: Tensor, power: int) -> tuple[Tensor, Tensor]:
    """Return (V V*)ᵏ of each matrix V, k = ``power``, all divided by eˢ, and s.

    Args:
        operators: (..., inner, features), real or complex.
        power: k, a power of 2.
    """
    gram, log_scale = operators @ operators.mH, operators.new_zeros((), dtype=operators.real.dtype)
    for _ in range(power.bit_length() - 1):
        # The scale cancels exactly in the result, so no gradient needs to pass through it.
        scale = gram.detach().abs().amax()
        scale = torch.where(scale > 0, scale, 1.0)
        gram, log_scale = (gram / scale) @ (gram / scale), 2 * (log_scale + scale.log())
    return gram, log_scale


def floored_log(sums: Tensor) -> Tensor:
    """Return log(``sums``), where sums below a floor are raised to it: smaller ones may have lost digits to underflow."""
    info = torch.finfo(sums.dtype)
    return sums.clamp_min(info.tiny / info.eps).log()


def unit_scale(weight: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the power of two above max |W|, in float32 at least; autograd takes it as a constant.

    Products of entries of W divided by it neither overflow nor underflow, and the division is exact.
    """
    low, high = weight.detach().aminmax()
    largest = torch.maximum(-low, high).to(torch.promote_types(weight.dtype, torch.float32))
    info = torch.finfo(largest.dtype)
    largest = torch.where((largest > info.tiny) & (largest < info.max), largest, 1.0)
    return largest / torch.frexp(largest).mantissa


def to_unit_size(weight: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return W divided by :func:`unit_scale`, for formulas whose result does not change with the scale of W."""
    scale = unit_scale(weight)
    return weight.to(scale.dtype) / scale


def residual_step(weight: Float[Tensor, "inner *kernel"], choice: Callable[[Tensor, Tensor], Tensor]) -> Float[Tensor, " inner"]:
    """Return 2/T, safely: see :func:`safe_reciprocal`.

    Args:
        weight: V, (inner, features) or (inner, channels, k, k).
        choice: Computes T of V/s, (inner,), from V and a scale s. Every T is quadratic in V, so that T of V follows.
    """
    with full_precision(weight.device.type):
        scale = unit_scale(weight)
        # A scale of 1 saves a copy of a dense weight (fast/gram.py).
        scale = torch.where((scale > 1 / FAR) & (scale < FAR), 1.0, scale)
        factor = scale.reciprocal().square()
        info = torch.finfo(factor.dtype)
        inverse = safe_reciprocal(choice(weight, scale)) * torch.where(factor < info.max, factor, 0.0)
        # Steps outside 1/bound..bound (1e-31..1e31 in float32) become 0: products of such weights overflow or lose digits.
        bound = info.eps / info.tiny
        return 2 * torch.where((inverse > 1 / bound) & (inverse < bound), inverse, 0.0)


def safe_reciprocal(t: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return 1/T, and 0 where T is zero, too small to be known to working precision, or not finite.

    A step of 0 switches the unit off, which is 1-Lipschitz. In float32 this happens for T below 2e-19: to rows of W that are
    negligible beside its largest entry. The reciprocal is not computed where it would fail (the authors' ``x**-1``, followed by a
    mask, gives NaN in backward at a zero row), and its derivative, 1/T², is finite elsewhere.
    """
    least = 2 * torch.finfo(t.dtype).tiny ** 0.5
    usable = (t > least) & (t < 1 / least)
    return torch.where(usable, torch.where(usable, t, 1.0).reciprocal(), 0.0)
