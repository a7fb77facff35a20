# SPDX-License-Identifier: Apache-2.0
"""The end of a block: the sum over warps that share k, and the stores of D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.intrin.mma import accumulator_row_col, store_local, sum_value
from bitquant.schedule.rules.mma.emit.context import Context
from bitquant.schedule.rules.operands import row_index

__all__ = ["reduce_warps", "store"]

Expr = Any


def reduce_warps(context: Context) -> None:
    """Emit the sum over the warps that share k; the first of them holds it afterwards."""
    h = context.hint
    if h.warps_k == 1:
        return
    count = context.g.m_tiles * context.g.n_tiles * 4
    others = h.warps_m * h.warps_n * 32
    kind = {"int32": "s32", "uint32": "u32", "float32": "f32"}[str(context.total.dtype)]
    index = context.thread % others

    def at(part: Expr, r: int) -> Expr:
        return context.arena.ptr_to([((part * count + r) * others + index) * 4])

    T.evaluate(T.cuda.cta_sync())
    with T.If(context.warp_k > 0), T.Then():
        for r in range(count):
            T.evaluate(T.ptx[f"st.shared.{kind}"](at(context.warp_k - 1, r), context.total[r]))
    T.evaluate(T.cuda.cta_sync())
    with T.If(context.warp_k == 0), T.Then():
        part_sum = T.alloc_local((1,), context.total.dtype)
        for part in range(h.warps_k - 1):
            for r in range(count):
                T.evaluate(T.ptx[f"ld.shared.{kind}"](part_sum[0], at(part, r)))
                store_local(context.total, r, context.total[r] + part_sum[0])


def store(context: Context) -> None:
    """Emit the stores of this warp's part of D, two columns at a time where rows keep them aligned."""
    with T.If(context.warp_k == 0), T.Then():
        for i in range(context.g.m_tiles):
            for half in range(2):
                row = (
                    context.m0
                    + (context.warp_m * context.g.m_tiles + i) * 16
                    + accumulator_row_col(context.lane, 2 * half)[0]
                )
                with T.If(row < context.m), T.Then():
                    for j in range(context.g.n_tiles):
                        column = accumulator_row_col(context.lane, 0)[1] + (context.warp_n * context.g.n_tiles + j) * 8
                        first = (i * context.g.n_tiles + j) * 4 + 2 * half
                        sums = [context.total[first], context.total[first + 1]]
                        _store_pair(context, row, context.n0 + column, sums)


def _store_pair(context: Context, row: Expr, column: Expr, sums: Sequence[Expr]) -> None:
    c, D = context.config, context.operands.D
    wide_row = row_index(c, context.g.rung, row)
    if c.activation is not None:
        # A pair is gate and up. Four lanes store neighbours.
        with T.If(column < c.N), T.Then():
            value = context.operands.output(row, column, [sum_value(x) for x in sums])
            T.buffer_store(D, value, [wide_row, T.truncdiv(column, 2)])
        return

    def output(i: int) -> Expr:
        return context.operands.output(row, column + i, [sum_value(sums[i])])

    # Where a GPU has no bfloat16 TVM computes it in float32, whose bits are no pair of outputs.
    if c.N % 2 or (c.out_format.name == "bfloat16" and not context.g.gpu.has_bfloat16):
        for i in range(2):
            with T.If(column + i < c.N), T.Then():
                T.buffer_store(D, output(i), [wide_row, column + i])
        return
    bits = c.out_format.bits
    values = T.alloc_local((2,), f"uint{bits}")
    with T.If(column < c.N), T.Then():
        for i in range(2):
            store_local(values, i, tirx.reinterpret(f"uint{bits}", output(i)))
        target = D.ptr_to([wide_row, column])
        if bits == 32:
            T.evaluate(T.ptx["st.global.v2.u32"](target, values[0], values[1]))
        else:
            both = f"uint{2 * bits}"
            word = values[0].astype(both) | (values[1].astype(both) << tirx.const(bits, both))
            T.evaluate(T.ptx[f"st.global.b{2 * bits}"](target, word))
