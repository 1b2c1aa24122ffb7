"""|WᵀW| q for a dense weight that several processes hold alike, each computing its part of the product and of the derivatives.

For N processes the units are cut into 2N blocks. By symmetry, each pair of blocks is multiplied once: block i is multiplied with
itself and the blocks that follow it (modulo 2N) up to block i + N − 1; the first N blocks also with block i + N. The process of
rank r has the blocks r and r + N, which makes 2N + 1 products for every rank; together the processes have all products.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from sll_zoo.compat import graph_is_captured
from sll_zoo.functional.fast.gram import derivatives_by_formula, divided, formula, norms_for_sign_check, products
from sll_zoo.functional.fast.products import derivatives_are_taken_in_reverse, full_precision, linear


def sharded_abs_gram_product(
    weight: Float[Tensor, "inner features"],
    scale: Float[Tensor, ""],
    q: Float[Tensor, " inner"],
    group: distributed.ProcessGroup,
    compute_dtype: torch.dtype | None = None,
) -> Float[Tensor, " inner"]:
    """Return :func:`~sll_zoo.functional.fast.gram.abs_gram_product`, in about 1/N of the time on each of N processes.

    All processes of the group call it with the same arguments, and all or none take derivatives. Each process adds only its part
    to the gradients: the sum over processes, which DDP turns into the mean, equals the sum of the gradients that each would have
    computed for its own loss. Second derivatives are not shared, nor are calls inside ``torch.compile`` or ``torch.func``.

    Args:
        weight: V, a matrix; derivatives with respect to it are possible.
        scale: A constant, positive; by :func:`~sll_zoo.functional.rescaling.unit_scale`.
        q: Positive, in float32 at least; its dtype is that of the result.
        group: The processes. Nothing else may be reduced in it, since its calls must come in the same order everywhere.
        compute_dtype: As for ``abs_gram_product``.
    """
    if graph_is_captured() or not derivatives_are_taken_in_reverse(weight, q):
        return formula(weight, scale, q)
    sums: Tensor = _ShardedAbsGramProduct.apply(weight, scale, q, group, compute_dtype or q.dtype)
    return sums


class _ShardedAbsGramProduct(torch.autograd.Function):
    """The formula, in parts that are summed over the processes."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, scale: Tensor, q: Tensor, group: distributed.ProcessGroup, compute_dtype: torch.dtype
    ) -> Tensor:
        unit, sums, signs = divided(weight, scale, q.dtype).to(compute_dtype), torch.zeros_like(q), []
        norms = norms_for_sign_check(unit)
        for rows, columns in _blocks(q, group):
            gram = products(unit, rows, columns, norms).to(q.dtype)
            signs.append(gram.sign().to(torch.int8))
            gram.abs_()
            sums[rows] += gram @ q[columns]
            sums[columns[len(gram) :]] += gram[:, len(gram) :].mT @ q[rows]
        distributed.all_reduce(sums, group=group)
        ctx.group, ctx.compute_dtype = group, compute_dtype
        ctx.save_for_backward(weight, scale, q, sums, *signs)
        return sums

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, scale, q, sums, *signs = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *derivatives_by_formula(ctx, weight, scale, q, grad), None, None
        whole = grad.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(whole, group=ctx.group)
        unit = divided(weight, scale, q.dtype)
        grad_unit, factor = torch.zeros_like(unit), unit.to(ctx.compute_dtype)
        with full_precision(weight.device.type):
            for (rows, columns), sign in zip(_blocks(q, ctx.group), signs, strict=True):
                outer = torch.outer(whole[rows], q[columns]).addr_(q[rows], whole[columns]).mul_(sign).to(ctx.compute_dtype)
                grad_unit[rows] += linear(outer, factor[columns].mT)
                # Columns of the diagonal block are left out here: this block is its own mirror image.
                grad_unit[columns[len(outer) :]] += linear(outer[:, len(outer) :].mT, factor[rows].mT)
        # This formula of gram.py gives the right sum over processes: grad_unit is one process's part, and grad its own gradient.
        grad_q = (torch.linalg.vecdot(grad_unit, unit) - grad * sums) / q
        return grad_unit.div_(scale).to(weight.dtype), None, grad_q, None, None


def _blocks(q: Tensor, group: distributed.ProcessGroup) -> Iterator[tuple[slice, Tensor]]:
    """Yield this process's blocks of rows, each with the distinct columns that it is multiplied with."""
    size, processes = len(q), group.size()
    for block in (group.rank(), group.rank() + processes):
        last = block + processes + (block < processes)
        start, stop, end = (size * bound // (2 * processes) for bound in (block, block + 1, last))
        if start < stop:  # there may be fewer units than blocks
            yield slice(start, stop), torch.arange(start, end, device=q.device) % size
