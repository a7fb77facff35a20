# SPDX-License-Identifier: Apache-2.0
"""Products of decoded tiles, and the scaling of their sums where a group ends."""

from __future__ import annotations

from typing import Any

from tvm.script import tirx as T

from bitquant.compute.decode import apply_scale_and_zero
from bitquant.compute.matmul import scale_value, zero_point
from bitquant.intrin.mma import (
    accumulator_row_col,
    fragment_row_chunk,
    load_fragments,
    store_local,
    sum_value,
    transposed_fragment_row_chunk,
    zero_local,
)
from bitquant.schedule.rules.mma.emit.context import Context

__all__ = ["multiply"]

Expr = Any


def multiply(context: Context, tile: Expr) -> None:
    """Emit the products of tile `tile`, and the scaling of sums where a group ends."""
    a_slot = tile % (2 if context.g.decodes_a else context.hint.stages)
    w_slot = tile % (2 if context.g.decodes_w else context.hint.stages)
    for step in range(context.g.steps):
        a = _left_fragments(context, a_slot, step)
        b = _right_fragments(context, w_slot, step)
        for i in range(context.g.m_tiles):
            left = [a[4 * i + r] for r in range(4)]
            for j in range(context.g.n_tiles):
                first = (i * context.g.n_tiles + j) * 4
                context.g.mma.emit([context.acc[first + r] for r in range(4)], left, [b[2 * j], b[2 * j + 1]])
            if context.g.scales_sums and context.config.with_zeros:
                ones = T.uint32(0x01010101 if context.g.is_integer else 0x3C003C00)
                context.g.mma.emit([context.a_sum[4 * i + r] for r in range(4)], left, [ones, ones])
        if context.g.scales_sums:
            _end_group_after(context, tile, step)


def _left_fragments(context: Context, slot: Expr, step: int) -> Any:
    registers = T.alloc_local((4 * context.g.m_tiles,), "uint32")
    row, chunk = fragment_row_chunk(context.lane, is_left=True)
    chunk = chunk + 2 * (context.warp_k * context.g.steps + step)
    for i in range(context.g.m_tiles):
        origin = (context.warp_m * context.g.m_tiles + i) * 16
        offset = context.g.a_tile.chunk_offset(slot, row + origin, chunk)
        load_fragments(context.arena, offset, [registers[4 * i + r] for r in range(4)])
    return registers


def _right_fragments(context: Context, slot: Expr, step: int) -> Any:
    registers = T.alloc_local((2 * context.g.n_tiles,), "uint32")
    k_step = context.warp_k * context.g.steps + step
    for j in range(0, context.g.n_tiles, 2):
        count = min(2, context.g.n_tiles - j)
        # An x2 load takes the rows that the first 16 lanes name; the others must still name rows of the tile.
        lane = context.lane if count == 2 else context.lane % 16
        if context.g.is_transposed:
            row, chunk = transposed_fragment_row_chunk(lane)
            offset = context.g.w_tile.chunk_offset(
                slot, row + k_step * 16, chunk + context.warp_n * context.g.n_tiles + j
            )
        else:
            row, chunk = fragment_row_chunk(lane, is_left=False)
            offset = context.g.w_tile.chunk_offset(
                slot, row + (context.warp_n * context.g.n_tiles + j) * 8, chunk + 2 * k_step
            )
        out = [registers[2 * j + r] for r in range(2 * count)]
        load_fragments(context.arena, offset, out, transpose=context.g.is_transposed)
    return registers


# The scaling of sums.


def _end_group_after(context: Context, tile: Expr, step: int) -> None:
    """Emit the scaling of the sums where this warp's step is its last one, here, of a group."""
    c, h = context.config, context.hint
    step_k = 32 // context.g.operand_bytes
    done = (step + 1) * step_k
    is_last_step = step == context.g.steps - 1
    if c.num_groups == 1:
        if is_last_step:
            with T.If(tile == context.g.tiles - 1), T.Then():
                _scale_sums(context, 0)
    elif c.group % h.block_k == 0:
        if is_last_step:
            with T.If(((tile + 1) * h.block_k) % c.group == 0), T.Then():
                _scale_sums(context, tile * h.block_k // c.group)
    elif done % c.group == 0:
        k = tile * h.block_k + context.warp_k * (h.block_k // h.warps_k) + done - step_k
        if context.g.has_ragged_k:
            with T.If(k < c.K), T.Then():
                _scale_sums(context, k // c.group)
        else:
            _scale_sums(context, k // c.group)


def _scale_sums(context: Context, g: Expr) -> None:
    """Emit total += decode(sums of group g), and clear the sums."""
    c, dtype = context.config, context.config.reduce_dtype
    for j in range(context.g.n_tiles):
        scales, zeros = T.alloc_local((2,), dtype), T.alloc_local((2,), dtype)
        for i in range(2):
            column = accumulator_row_col(context.lane, i)[1] + (context.warp_n * context.g.n_tiles + j) * 8
            n = context.column(column)
            if c.with_scaling:
                store_local(scales, i, scale_value(c, context.operands.Scale, n, g, dtype))
            if c.with_zeros:
                store_local(zeros, i, zero_point(c, context.operands.Zeros, n, g).astype(dtype))
        for i in range(context.g.m_tiles):
            for r in range(4):
                at = (i * context.g.n_tiles + j) * 4 + r
                scale = scales[r % 2] if c.with_scaling else None
                zero = zeros[r % 2] * sum_value(context.a_sum[4 * i + r]).astype(dtype) if c.with_zeros else None
                value = apply_scale_and_zero(sum_value(context.acc[at]).astype(dtype), scale, zero, c.zeros_mode)
                store_local(context.total, at, context.total[at] + value)
    zero_local(context.acc)
    if c.with_zeros:
        zero_local(context.a_sum)
