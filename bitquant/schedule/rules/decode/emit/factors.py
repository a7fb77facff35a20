# SPDX-License-Identifier: Apache-2.0
"""Scales and zero points of the decode kernel: staged in shared memory or prefetched into registers."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.compute.matmul import scale_row, zero_point
from bitquant.intrin.mma import Tile, copy_tile, store_local
from bitquant.schedule.rules.decode.emit.context import Context, Cursor
from bitquant.schedule.rules.decode.memory import PackedTile
from bitquant.schedule.rules.operands import when

__all__ = ["Factors"]

Expr = Any


class Factors:
    """Emits the copies of scales and zero points: staged in shared memory, or loaded a body ahead.

    Attributes
    ----------
    scale, zero
        Of the body that is multiplied, in the type of the totals: by row of W of this lane, then by run.
    """

    def __init__(self, context: Context) -> None:
        g, c = context.g, context.config
        self.context, self.g, self.config = context, g, c
        count = context.hint.n_tiles_per_warp * 2 * g.runs
        zeros_dtype = "uint8" if c.has_packed_zeros else c.scale_format.tvm_dtype
        self.scale, self.zero = (T.alloc_local((count,), c.reduce_dtype) for _ in range(2))
        # Of the next body, as stored, since a cast would wait for the load.
        self._next_scale = T.alloc_local((count,), "uint8" if c.scale_format.bits == 8 else c.scale_format.tvm_dtype)
        self._next_zero = T.alloc_local((count,), zeros_dtype)

    def stage(self, at: Cursor) -> None:
        """Emit the copies of a block's scales and zero points to shared memory: all of k, and the n of an iteration."""
        c, g, context = self.config, self.g, self.context
        size = c.scale_format.bits // 8
        g0, n0 = at.factors_k0 // c.group, at.n0
        for tile, operand in ((g.smem.scale_tile, context.unit.Scale), (g.smem.zero_tile, context.unit.Zeros)):
            if tile is not None:

                def source(row: Expr, byte: Expr, operand: Any = operand) -> Expr:
                    return operand.ptr_to([n0 + row, g0 + byte // size])

                rows_left = c.N - n0 if g.has_ragged_n else None
                if isinstance(tile, PackedTile):
                    bytes_left = None if rows_left is None else rows_left * tile.row_bytes
                    copy_tile(
                        context.arena, tile.as_row(at.iteration % tile.slots), 0, source, context.thread, g.threads,
                        g.smem.scale_width, None, bytes_left, use_async=True,
                    )  # fmt: skip
                    continue
                copy_tile(
                    context.arena, tile, at.iteration % tile.slots, source, context.thread, g.threads,
                    g.smem.scale_width, rows_left,
                    (c.num_groups - g0) * size if g.has_ragged_k else None, use_async=True,
                )  # fmt: skip

    def load(self, at: Cursor) -> None:
        """Emit the loads of scales and zero points that are not staged, for a body."""
        c, g, context, tile = self.config, self.g, self.context, at.tile
        loads_scale = c.with_scaling and g.smem.scale_tile is None
        loads_zero = c.with_zeros and g.smem.zero_tile is None
        for r in range(context.hint.n_tiles_per_warp if loads_scale or loads_zero else 0):
            for half in range(2):
                n = at.n0 + (context.warp_n * context.hint.n_tiles_per_warp + r) * 16 + half * 8 + context.lane // 4
                n = T.min(n, c.N - 1) if g.has_ragged_n else n
                if loads_zero and c.has_packed_zeros:
                    # In a register: TVM's simplifier fails on the shifts of 5 and 7 bits by sums of indices.
                    held = T.alloc_local((1,), "int32")
                    store_local(held, 0, n)
                    n = held[0]
                for run in range(g.runs):
                    group = (tile * g.fragment_layout.tile_k + run * g.run_k) // c.group if c.num_groups > 1 else 0
                    if g.has_ragged_k and c.num_groups > 1:
                        group = T.min(group, c.num_groups - 1)
                    index = (r * 2 + half) * g.runs + run
                    if loads_scale:
                        scale = context.unit.Scale[scale_row(c, n), group]
                        scale = tirx.reinterpret("uint8", scale) if c.scale_format.bits == 8 else scale
                        store_local(self._next_scale, index, scale)
                    if loads_zero:
                        store_local(self._next_zero, index, zero_point(c, context.unit.Zeros, n, group))

    def prefetch_next(self, at: Cursor) -> None:
        """Emit `load` for the next body of this warp, if any."""
        following, is_there = at.after(1)
        when(is_there, lambda: self.load(following))

    def take(self, at: Cursor) -> None:
        """Emit the moves of a body's scales and zero points into the registers that the sums are scaled with."""
        c, g = self.config, self.g
        k = at.tile * g.fragment_layout.tile_k - at.factors_k0
        if g.shares_scales:
            self._take_shared(at, k)
        for row in range(2 * self.context.hint.n_tiles_per_warp):
            for run in range(g.runs):
                index = row * g.runs + run
                if c.with_scaling and not g.shares_scales:
                    scale = self._taken(self._next_scale, index, g.smem.scale_tile, at, row, k + run * g.run_k)
                    store_local(self.scale, index, c.scale_format.value(scale, c.reduce_dtype))
                if c.with_zeros:
                    zero = self._taken(self._next_zero, index, g.smem.zero_tile, at, row, k + run * g.run_k)
                    zero = zero.astype(c.reduce_dtype)
                    if g.decoder.value_offset and c.zeros_mode != "rescale":
                        zero = zero + tirx.const(g.decoder.value_offset, c.reduce_dtype)
                    store_local(self.zero, index, zero)

    def _take_shared(self, at: Cursor, k: Expr) -> None:
        """Emit the moves of staged scales: each of the lanes that have a row of W converts those of a part of runs."""
        c, g, lane = self.config, self.g, self.context.lane
        own = T.alloc_local((1,), c.reduce_dtype)
        for row in range(2 * self.context.hint.n_tiles_per_warp):
            for first in range(0, g.runs, 4):
                run = T.min(lane % 4, min(4, g.runs - first) - 1) + first
                scale = self._taken(None, 0, g.smem.scale_tile, at, row, k + run * g.run_k)
                store_local(own, 0, c.scale_format.value(scale, c.reduce_dtype))
                for i in range(min(4, g.runs - first)):
                    value = T.tvm_warp_shuffle(T.uint32(0xFFFFFFFF), own[0], i, 4, 32)
                    store_local(self.scale, row * g.runs + first + i, value)

    def _taken(self, arrived: Any, index: int, tile: Tile | None, at: Cursor, row: int, k: Expr) -> Expr:
        """Return a scale or zero point as it is stored; one of 8 bits as uint8."""
        c, context = self.config, self.context
        if tile is None:
            return arrived[index]
        size = c.scale_format.bits // 8
        n = context.warp_n * context.hint.n_tiles_per_warp * 16 + row * 8 + context.lane // 4
        group = k // c.group
        if self.g.has_ragged_k:
            group = T.min(group, tile.row_bytes // size - 1)
        # PTX loads a byte into a register of 16 bits.
        raw = T.alloc_local((1,), f"uint{8 * max(2, size)}")
        source = context.shared(tile.offset(at.iteration % tile.slots, n, group * size))
        T.evaluate(T.ptx[f"ld.shared.u{8 * size}"](raw[0], source))
        return raw[0].astype("uint8") if size == 1 else tirx.reinterpret(c.scale_format.tvm_dtype, raw[0])
