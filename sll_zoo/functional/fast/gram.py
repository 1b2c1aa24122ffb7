"""|WᵀW| q for a dense weight, in less time and memory than by autograd.

The formula is ``(V @ V.mT).abs() @ q``. Autograd computes three matrix products and keeps two matrices for it. Here it is half of
a product forward and one product backward, and only the signs are kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sll_zoo.compat import graph_is_captured
from sll_zoo.functional.fast.products import derivatives_are_taken_in_reverse, full_precision, linear

# Rows of the Gram matrix that are computed at a time: few enough to leave out nearly half of the products of 2,048 rows (by
# symmetry), many enough for a fast product; and on a GPU, where a small product takes as long as it takes to start.
BLOCK = 256
BLOCK_OF_GPU = 2048
# Entries with a doubtful sign are computed again in float64, but no more than MOST for each row of a block, on average: if there
# are more, PyTorch's own product computes the whole block again.
MOST = 4
# A sign is doubtful if the entry is below DOUBT · eps times the norms of its two rows: eight times the largest error seen among
# 4 million entries of a product of 2,880 terms.
DOUBT = 4


def abs_gram_product(
    weight: Float[Tensor, "inner features"],
    scale: Float[Tensor, ""],
    q: Float[Tensor, " inner"],
    compute_dtype: torch.dtype | None = None,
) -> Float[Tensor, " inner"]:
    """Return ``Σⱼ |V Vᵀ|ᵢⱼ qⱼ`` for V = ``weight / scale``.

    In float32 on a CPU the last digit may depend on whether derivatives are taken.

    Args:
        weight: V · ``scale``, (inner, features); differentiable.
        scale: A positive constant, as :func:`~sll_zoo.functional.rescaling.unit_scale` gives.
        q: Positive, (inner,), in float32 at least; differentiable. The result has its dtype.
        compute_dtype: Dtype of the products with V, forward and backward; by default that of q, as in all certificates.
    """
    if derivatives_are_taken_in_reverse(weight, q):
        apply = _AbsGramProduct.apply if torch.is_grad_enabled() else partial(_AbsGramProduct.forward, None)
        sums: Tensor = apply(weight, scale, q, compute_dtype or q.dtype)
        return sums
    return formula(weight, scale, q)


def formula(weight: Tensor, scale: Tensor, q: Tensor) -> Tensor:
    """Return the same as :func:`abs_gram_product`, by PyTorch's operations, which have derivatives of every kind."""
    unit = weight.to(q.dtype) / scale
    return (unit @ unit.mT).abs() @ q


class _AbsGramProduct(torch.autograd.Function):
    """The formula with a hand-written backward; second derivatives go through the formula."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, q: Tensor, compute_dtype: torch.dtype) -> Tensor:
        """Return the sums; save nothing for backward if ``ctx`` is None."""
        sums, signs = torch.zeros_like(q), None if ctx is None else torch.empty(len(q), len(q), dtype=torch.int8, device=q.device)
        unit = divided(weight, scale, q.dtype).to(compute_dtype)
        norms = None if ctx is None else norms_for_sign_check(unit)
        for rows, rest in _blocks(len(q), q.device):
            # The block on the diagonal and all to its right are computed; the part below it follows by symmetry.
            gram = products(unit, rows, slice(rows.start, None), norms).to(q.dtype)
            if signs is not None:
                signs[rows, rows.start :] = gram.sign()
                signs[rest, rows] = signs[rows, rest].mT
            gram.abs_()
            sums[rows] += gram @ q[rows.start :]
            sums[rest] += gram[:, len(gram) :].mT @ q[rows]
        if ctx is not None:
            ctx.compute_dtype = compute_dtype
            ctx.save_for_backward(weight, scale, q, signs, sums)
        return sums

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, scale, q, signs, sums = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *derivatives_by_formula(ctx, weight, scale, q, grad), None
        unit = divided(weight, scale, q.dtype)
        grad_unit, columns, inner = torch.empty_like(unit), unit.to(ctx.compute_dtype).mT, torch.empty_like(q)
        with full_precision(weight.device.type):
            for rows, _ in _blocks(len(q), q.device):
                outer = torch.outer(grad[rows], q).addr_(q[rows], grad)
                grad_unit[rows] = linear(outer.mul_(signs[rows]).to(ctx.compute_dtype), columns)
                inner[rows] = torch.linalg.vecdot(grad_unit[rows], unit[rows])
        # The derivative by q is |V Vᵀ| grad. It follows from ∂ = grad_unit: ⟨∂ᵢ, Vᵢ⟩ = gradᵢ sumsᵢ + qᵢ (|V Vᵀ| grad)ᵢ.
        grad_q = (inner - grad * sums) / q
        return grad_unit.div_(scale).to(weight.dtype), None, grad_q, None


def _blocks(size: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Yield the rows of each block, and all rows below it."""
    block = BLOCK_OF_GPU if device.type == "cuda" else BLOCK
    for start in range(0, size, block):
        stop = min(start + block, size)
        yield slice(start, stop), slice(stop, size)


def divided(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``weight / scale``; on a CPU without a copy if the scale is 1, as for all but very large or small weights."""
    if weight.device.type == "cpu" and not graph_is_captured() and scale == 1:
        return weight.to(dtype)
    return weight.to(dtype) / scale


def norms_for_sign_check(unit: Tensor) -> Tensor | None:
    """Return the norms of the rows of V, by which :func:`products` finds doubtful signs; None where it need not look for them."""
    if unit.device.type != "cpu" or unit.dtype != torch.float32 or graph_is_captured():
        return None
    norms: Tensor = torch.linalg.vector_norm(unit, dim=1)
    return norms


def products(unit: Tensor, rows: slice, columns: slice | Tensor, norms: Tensor | None) -> Tensor:
    """Return the inner products of some rows of V with others, (rows, columns).

    For an entry near 0, rounding decides the sign, and with it the derivative: two ways to compute a product may then disagree.
    If ``norms`` are given, such entries are computed again in float64. If there are too many of them, as for orthogonal rows,
    PyTorch's own product computes the block: it nearly always gives the signs of the formula.
    """
    ours, others = unit[rows], unit[columns]
    gram = linear(ours, others)
    if norms is None:
        return gram
    error = DOUBT * torch.finfo(gram.dtype).eps * torch.outer(norms[rows], norms[columns])
    i, j = (gram.abs() < error).nonzero(as_tuple=True)
    if len(i) > MOST * len(gram):
        return ours @ others.mT
    gram[i, j] = torch.linalg.vecdot(ours[i].double(), others[j].double()).to(gram.dtype)
    return gram


def derivatives_by_formula(ctx: Any, weight: Tensor, scale: Tensor, q: Tensor, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return the derivatives by weight, scale and q, themselves differentiable; None for those that ``ctx`` does not need."""
    wanted = [tensor for tensor, needed in zip((weight, q), ctx.needs_input_grad[:3:2], strict=True) if needed]
    found = iter(torch.autograd.grad(formula(weight, scale, q), wanted, grad, create_graph=True))
    grad_weight, grad_q = (next(found) if needed else None for needed in ctx.needs_input_grad[:3:2])
    return grad_weight, None, grad_q
