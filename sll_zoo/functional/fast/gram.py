"""|WᵀW| q for a dense weight, with half of the product forward and one product backward, and no matrix kept but signs.

The formula is ``(V @ V.mT).abs() @ q``. Autograd keeps two matrices for it and multiplies three times.
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

# Rows of the Gram matrix at a time: few enough that half of 2,048 rows' products are left out, many enough for a fast product.
BLOCK = 256
# Entries for each of these rows that may be computed again.
MOST = 4
# In units of eps and of the norms: eight times the largest error among 4 million entries of a product of 2,880 terms.
DOUBT = 4


def abs_gram_product(
    weight: Float[Tensor, "inner features"],
    scale: Float[Tensor, ""],
    q: Float[Tensor, " inner"],
    compute_dtype: torch.dtype | None = None,
) -> Float[Tensor, " inner"]:
    """Return ``Σⱼ |V Vᵀ|ᵢⱼ qⱼ`` of V = ``weight / scale``.

    In float32 on a CPU the last digit may depend on whether derivatives are taken.

    Args:
        weight: Of which a derivative may be asked.
        scale: A constant, positive; by :func:`~sll_zoo.functional.rescaling.unit_scale`.
        q: Positive, in float32 at least; its dtype is that of the result.
        compute_dtype: Of products with V, forward and backward, where it is not q's dtype; never for a certificate.
    """
    if derivatives_are_taken_in_reverse(weight, q):
        apply = _AbsGramProduct.apply if torch.is_grad_enabled() else partial(_AbsGramProduct.forward, None)
        sums: Tensor = apply(weight, scale, q, compute_dtype or q.dtype)
        return sums
    return formula(weight, scale, q)


def formula(weight: Tensor, scale: Tensor, q: Tensor) -> Tensor:
    """Return what :func:`abs_gram_product` does, by PyTorch's operations and their derivatives."""
    unit = weight.to(q.dtype) / scale
    return (unit @ unit.mT).abs() @ q


class _AbsGramProduct(torch.autograd.Function):
    """The formula with derivatives of our own; derivatives of these are taken through the formula."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor, q: Tensor, compute_dtype: torch.dtype) -> Tensor:
        """Return the sums; keep nothing where ``ctx`` is None."""
        sums, signs = torch.zeros_like(q), None if ctx is None else torch.empty(len(q), len(q), dtype=torch.int8, device=q.device)
        unit = divided(weight, scale, q.dtype).to(compute_dtype)
        norms = None if ctx is None else norms_to_be_sure_of_signs(unit)
        for rows, rest in _blocks(len(q)):
            # A block on the diagonal and all to its right, which by symmetry is all below it, too.
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
        by_unit, columns, inner = torch.empty_like(unit), unit.to(ctx.compute_dtype).mT, torch.empty_like(q)
        with full_precision(weight.device.type):
            for rows, _ in _blocks(len(q)):
                outer = torch.outer(grad[rows], q).addr_(q[rows], grad)
                by_unit[rows] = linear(outer.mul_(signs[rows]).to(ctx.compute_dtype), columns)
                inner[rows] = torch.linalg.vecdot(by_unit[rows], unit[rows])
        # The formula's |V Vᵀ| grad, of which by_unit holds all that is needed: ⟨∂ᵢ, Vᵢ⟩ = gradᵢ sumsᵢ + qᵢ (|V Vᵀ| grad)ᵢ.
        by_q = (inner - grad * sums) / q
        return by_unit.div_(scale).to(weight.dtype), None, by_q, None


def _blocks(size: int) -> Iterator[tuple[slice, slice]]:
    """Yield blocks of rows, and the rows below each."""
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        yield slice(start, stop), slice(stop, size)


def divided(weight: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``weight / scale``; without a copy where a CPU sees that the scale is 1, as it is of all but strange weights."""
    if weight.device.type == "cpu" and not graph_is_captured() and scale == 1:
        return weight.to(dtype)
    return weight.to(dtype) / scale


def norms_to_be_sure_of_signs(unit: Tensor) -> Tensor | None:
    """Return the norms of the rows of V, for :func:`products`; None where its product is PyTorch's own."""
    if unit.device.type != "cpu" or unit.dtype != torch.float32 or graph_is_captured():
        return None
    norms: Tensor = torch.linalg.vector_norm(unit, dim=1)
    return norms


def products(unit: Tensor, rows: slice, columns: slice | Tensor, norms: Tensor | None) -> Tensor:
    """Return the products of rows of V with others.

    A sign that rounding decides is another in each way to compute a product, and the derivative with it. Where norms are given,
    an entry so near 0 is computed again in float64. If too many are, as of rows that are orthogonal on purpose, PyTorch's own
    product gives them, as a rule, the sign that they have in the formula.
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
    """Return the derivatives by weight, scale and q of which derivatives can be taken; None where ``ctx`` needs none."""
    wanted = [tensor for tensor, needed in zip((weight, q), ctx.needs_input_grad[:3:2], strict=True) if needed]
    found = iter(torch.autograd.grad(formula(weight, scale, q), wanted, grad, create_graph=True))
    by_weight, by_q = (next(found) if needed else None for needed in ctx.needs_input_grad[:3:2])
    return by_weight, None, by_q
