"""Orthogonal matrices, real and complex: Cayley transforms and block reflectors; layers that apply one for each frequency.

Matrices are computed in the precision of their weight, float64 as a rule, and returned in that of the images. Their derivatives
have closed forms, which are computed in the latter: in float32 in half the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Inexact
from torch import Tensor
from torch.nn import functional as F

from sll_zoo.compat import is_traced
from sll_zoo.functional.convolution import frequencies
from sll_zoo.functional.fast.products import derivatives_are_taken_in_reverse, full_precision
from sll_zoo.functional.rescaling import safe_reciprocal, to_unit_size

# Limit of log ‖M‖ at every frequency: the condition number of I + A grows with ‖M‖², to 1e6 at ‖M‖ = 1e3, where float64 keeps
# ten digits.
LOG_NORM_LIMIT = math.log(1e3)
# δ of a block reflector, for W of unit size: some hundred times the rounding of WᵀW in float64, so that WᵀW + δ I is positive
# definite as it is computed; gradients grow with 1/√δ at most.
RIDGE = 1e-12


def cayley(m: Inexact[Tensor, "*batch rows cols"], dtype: torch.dtype | None = None) -> Inexact[Tensor, "*batch rows cols"]:
    """Return Q with orthonormal columns, or rows where there are fewer of them: QᴴQ = I or QQᴴ = I.

    For rows ≥ cols and M = [U; V], A = U − Uᴴ + VᴴV has a positive semidefinite symmetric part, so that I + A is invertible, and
    Q = [(I − A)(I + A)⁻¹; −2V(I + A)⁻¹], where (I − A)(I + A)⁻¹ = 2(I + A)⁻¹ − I.

    Args:
        m: M, real or complex.
        dtype: Precision of Q and of its derivative, as a real type; by default that of M.

    Source: Trockman and Kolter 2021 (arXiv 2104.07167).
    """
    if m.shape[-2] < m.shape[-1]:
        return cayley(m.mH, dtype).mH
    if not derivatives_are_taken_in_reverse(m):
        return _in_precision(_cayley(m), dtype)
    q: Tensor = _Cayley.apply(m, dtype)
    return q


def _cayley(m: Tensor) -> Tensor:
    rows, cols = m.shape[-2:]
    identity = torch.eye(cols, dtype=m.dtype, device=m.device)
    if rows == cols:
        sum_ = identity + (m - m.mH)
        q: Tensor = torch.linalg.solve(sum_, sum_.mH)  # I − A = (I + A)ᴴ where V is empty
        return q
    u, v = m[..., :cols, :], m[..., cols:, :]
    twice = 2 * torch.linalg.inv(identity + (u - u.mH + v.mH @ v))
    return torch.cat([twice - identity, -v @ twice], -2)


class _Cayley(torch.autograd.Function):
    """:func:`cayley`, with its derivative as products.

    For Z = 2(I + A)⁻¹ and the gradients G and H by the two parts of Q = [Z − I; −VZ], the gradient by A is
    B = −½ Zᴴ(G − VᴴH)Zᴴ, by U it is B − Bᴴ, and by V it is V(B + Bᴴ) − HZᴴ.
    """

    @staticmethod
    def forward(ctx: Any, m: Tensor, dtype: torch.dtype | None) -> Tensor:
        q = _in_precision(_cayley(m), dtype)
        ctx.save_for_backward(q, None if q.shape[-2] == q.shape[-1] else m)
        return q

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        q, m = ctx.saved_tensors
        cols = q.shape[-1]
        with full_precision(q.device.type):
            z = (q[..., :cols, :] + torch.eye(cols, dtype=q.dtype, device=q.device)).mH
            if m is None:
                by_a = z @ grad @ z / -2
                return by_a - by_a.mH, None
            v, g, h = m[..., cols:, :].to(q.dtype), grad[..., :cols, :], grad[..., cols:, :]
            by_a = z @ (g - v.mH @ h) @ z / -2
            return torch.cat([by_a - by_a.mH, v @ (by_a + by_a.mH) - h @ z], -2), None


def block_reflector(
    v: Inexact[Tensor, "*batch rank features"], rows: int, cols: int, dtype: torch.dtype | None = None
) -> Inexact[Tensor, "*batch rows cols"]:
    """Return the first rows and columns of I − 2 W T⁻¹ Wᴴ, where W = Vᴴ and T = WᴴW + δ I, which is of norm at most 1.

    W T⁻¹ Wᴴ has the eigenvalues σ²/(σ² + δ) in [0, 1), for the singular values σ of W, so that the whole is a symmetric
    contraction for every W, and orthogonal up to 4δ/σ² (``RIDGE``): it reflects the space of W's columns. W T⁻¹ Wᴴ is
    computed as QᴴQ, where Q = L⁻¹ V and L is the Cholesky factor of T: so it is symmetric, and positive but for rounding.

    Args:
        v: V = Wᴴ, of unit size, as :func:`of_unit_norm` gives.
        rows: Rows to return, at most ``features``.
        cols: Columns to return, at most ``features``.
        dtype: Precision of the result and of its derivative, as a real type; by default that of V.

    Source: Lai et al. 2025 (arXiv 2505.15174), without δ.
    """
    if derivatives_are_taken_in_reverse(v):
        projection: Tensor = _Projection.apply(v, rows, cols, dtype)
    else:
        q, _ = _whitened(v)
        projection = _in_precision(q[..., :rows].mH @ q[..., :cols], dtype)
    return torch.eye(rows, cols, dtype=projection.dtype, device=v.device) - 2 * projection


def _whitened(v: Tensor) -> tuple[Tensor, Tensor]:
    """Return L⁻¹ V and L."""
    t = v @ v.mH + RIDGE * torch.eye(v.shape[-2], dtype=v.dtype, device=v.device)
    # cholesky_ex carries NaN on, as other layers do, and does not wait for a GPU to look for it.
    factor = torch.linalg.cholesky_ex(t).L
    return torch.linalg.solve_triangular(factor, v, upper=False), factor


class _Projection(torch.autograd.Function):
    """P = Vᴴ T⁻¹ V = QᴴQ, its first rows and columns, for Q = L⁻¹ V and T = L Lᴴ = V Vᴴ + δ I.

    dP = Vᴴ T⁻¹ dV (I − P) and its adjoint, so that the gradient by V, for the gradient G by P, is L⁻ᴴ Q (G + Gᴴ)(I − P).
    """

    @staticmethod
    def forward(ctx: Any, v: Tensor, rows: int, cols: int, dtype: torch.dtype | None) -> Tensor:
        q, factor = _whitened(v)
        ctx.save_for_backward(v, _in_precision(q, dtype), _in_precision(factor, dtype))
        return _in_precision(q[..., :rows].mH @ q[..., :cols], dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        v, q, factor = ctx.saved_tensors
        (rows, cols), features = grad.shape[-2:], q.shape[-1]
        with full_precision(q.device.type):
            if torch.is_grad_enabled():  # this derivative has a derivative, too
                q, factor = (part.to(q.dtype) for part in _whitened(v))
            # G is zero but for its rows and columns.
            sums = F.pad(q[..., :rows] @ grad, (0, features - cols)) + F.pad(q[..., :cols] @ grad.mH, (0, features - rows))
            sums = sums - (sums @ q.mH) @ q
            return torch.linalg.solve_triangular(factor.mH, sums, upper=True), None, None, None


def _in_precision(m: Tensor, dtype: torch.dtype | None) -> Tensor:
    if dtype is None:
        return m
    return m.to(torch.promote_types(dtype, torch.complex32) if m.is_complex() else dtype)


def of_unit_norm(m: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return M/‖M‖ (Frobenius) in float64, and 0 for M = 0: no size of M overflows, and the gradient is finite."""
    unit = to_unit_size(m.double())
    return unit * safe_reciprocal(unit.square().sum()).sqrt()


def normalised(m: Float[Tensor, "*shape"], log_norm: Float[Tensor, ""]) -> Float[Tensor, "*shape"]:
    """Return M · e^log_norm / ‖M‖: see :func:`of_unit_norm`.

    log_norm is bounded, so that no matrix is longer than ``LOG_NORM_LIMIT`` says, and the Cayley transform of each is orthogonal:
    those of a kernel are at most as long as its edge times its norm.
    """
    edge = m.shape[-1] if m.ndim == 4 else 1
    return of_unit_norm(m) * log_norm.double().clamp(-LOG_NORM_LIMIT, LOG_NORM_LIMIT - math.log(edge)).exp()


def to_frequencies(x: Float[Tensor, "batch c h w"]) -> Inexact[Tensor, "h half_w c batch"]:
    """Return the Fourier transform of images: one matrix (c, batch) for each frequency."""
    return _permuted(_transformed(torch.fft.rfft2, x), (2, 3, 1, 0))


def operators(weight: Float[Tensor, "rows cols *kernel"], space: tuple[int, ...]) -> Inexact[Tensor, "*frequencies rows cols"]:
    """Return the matrix of a dense weight, or the matrices of a circular convolution of images of a given size.

    A dense weight is one matrix for all vectors, and a kernel of one pixel is one matrix for all pixels. A larger kernel has one
    matrix for each frequency.

    Args:
        weight: A dense weight (rows, cols) or a kernel (rows, cols, k, k).
        space: Size (h, w) of the images; used for kernels larger than one pixel only.
    """
    if weight.ndim == 2:
        return weight
    return weight[..., 0, 0] if weight.shape[2:] == (1, 1) else frequencies(weight, (space[0], space[1]))


def from_frequencies(x: Inexact[Tensor, "h half_w c batch"], size: tuple[int, int]) -> Float[Tensor, "batch c h2 w2"]:
    """Return the images (batch, c, *size) whose transform is ``x``: the inverse of :func:`to_frequencies`."""
    images = _transformed(partial(torch.fft.irfft2, s=size), _permuted(x, (3, 2, 0, 1)))
    return images.contiguous()  # contiguous as other convolutions return it, so that ``view`` works


def _permuted(x: Tensor, order: tuple[int, ...]) -> Tensor:
    if not derivatives_are_taken_in_reverse(x):
        return x.permute(order)
    moved: Tensor = _Permuted.apply(x, order)
    return moved


class _Permuted(torch.autograd.Function):
    """``x.permute(order)``, copied, and so is its gradient: products of other than contiguous matrices copy these one by one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: tuple[int, ...]) -> Tensor:
        ctx.order = order
        return x.permute(order).contiguous()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _permuted(grad, tuple(ctx.order.index(i) for i in range(len(ctx.order)))), None


def _transformed(transform: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return the transform of images.

    MKL cannot transform an empty batch: it is padded to one image, which is dropped after the transform.
    """
    if is_traced() or len(images):
        return transform(images)
    return transform(F.pad(images, (0, 0, 0, 0, 0, 0, 0, 1)))[:0]


def apply_matrices(
    matrices: Inexact[Tensor, "*frequencies rows cols"],
    x: Float[Tensor, "batch cols *space"],
    bias: Float[Tensor, " rows"] | None = None,
) -> Float[Tensor, "batch rows *space"]:
    """Return M x + b: a real M is applied to each vector (batch, cols) or pixel, complex ones to the frequencies of images."""
    if not matrices.is_complex():
        matrix = matrices.to(x.dtype)
        return F.linear(x, matrix, bias) if x.ndim == 2 else F.conv2d(x, matrix[:, :, None, None].contiguous(), bias)
    frequencies = to_frequencies(x)
    y = from_frequencies(matrices.to(frequencies.dtype) @ frequencies, (x.shape[2], x.shape[3]))
    return y if bias is None else y + bias[:, None, None]


def sandwich(
    x: Float[Tensor, "batch in_ *space"],
    factors: Inexact[Tensor, "*frequencies rows out"],
    psi: Float[Tensor, " out"],
    bias: Float[Tensor, " out"] | None,
) -> Float[Tensor, "batch out *space"]:
    """Return √2 Aᵀ Ψ relu(√2 Ψ⁻¹ B x + b): 1-Lipschitz if A Aᵀ + B Bᵀ ≼ I.

    Args:
        x: Vectors, or images.
        factors: Aᴴ stacked on Bᴴ, (out + in, out), real or for each frequency: see :func:`apply_matrices`.
        psi: The diagonal of Ψ, positive.
        bias: b, or None.

    Source: Wang and Manchester 2023 (arXiv 2301.11526).
    """
    out, shape = len(psi), (-1, *(1,) * (x.ndim - 2))
    a, b = factors[..., :out, :], factors[..., out:, :]
    z = math.sqrt(2) * apply_matrices(b.mH, x) / psi.view(shape)
    hidden = psi.view(shape) * F.relu(z if bias is None else z + bias.view(shape))
    return math.sqrt(2) * apply_matrices(a, hidden)
