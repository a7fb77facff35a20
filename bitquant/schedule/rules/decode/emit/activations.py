# SPDX-License-Identifier: Apache-2.0
"""Copies of A to shared memory: bulk copies that complete on mbarriers, or cp.async by all threads."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.arithmetic import ceil_div
from bitquant.intrin.launch import expect_bytes, fence_barriers, initialize_barrier
from bitquant.intrin.mma import copy_tile, local
from bitquant.schedule.rules.decode.emit.context import Context, Cursor
from bitquant.schedule.rules.operands import when

__all__ = ["ActivationCopies"]

Expr = Any


class ActivationCopies:
    """Emits the copies of a block's rows of A, and the waits for them."""

    def __init__(self, context: Context) -> None:
        self.context, self.g, self.config = context, context.g, context.config

    def initialize_barriers(self) -> None:
        """Emit the initialization of the barriers of bulk copies."""
        g = self.g
        with T.If(self.context.thread == 0), T.Then():
            for buffer in range(g.buffers):
                for part in range(self.context.hint.warps_k):
                    initialize_barrier(self._barrier(buffer, part), 1)
            fence_barriers()

    def wait(self, buffer: Expr, parity: Expr) -> None:
        """Emit the wait for a bulk copy to a buffer of what this warp reads of A, the one of that parity.

        It is the warp's part; with stream-K, all of A.
        """
        stream_k, warps_k = self.context.hint.stream_k, self.context.hint.warps_k
        for part in range(warps_k) if stream_k else (self.context.warp_k,):
            T.evaluate(T.cuda.mbarrier_wait(self._barrier(buffer, part), parity))

    def _barrier(self, buffer: Expr, part: Expr) -> Expr:
        """Return the pointer to the barrier on which the arrival of a part of A in a buffer counts."""
        return self.context.shared(self.g.smem.barrier_offset + (buffer * self.context.hint.warps_k + part) * 8)

    def copy(self, at: Cursor, buffer: Expr) -> None:
        """Emit the copy of A's part of an iteration; what lies beyond K becomes zero, but for bulk copies."""
        c, g, context = self.config, self.g, self.context
        k0 = at.a_k0
        rows_left = context.unit.rows_left

        def source(row: Expr, byte: Expr) -> Expr:
            return context.unit.pointer_to_A(row, k0 + byte // g.a_bytes)

        if g.copies_bulk:
            self._copy_bulk(source, (c.K - k0) * g.a_bytes, rows_left, buffer)
            return
        copy_tile(
            context.arena, g.smem.a_tile, buffer, source, context.thread, g.threads, g.a_width, rows_left,
            (c.K - k0) * g.a_bytes if g.has_ragged_k else None, g.a_width >= 4,
        )  # fmt: skip

    def _copy_bulk(self, source: Any, bytes_left: Expr, rows_left: Expr | None, buffer: Expr) -> None:
        """Emit a bulk copy for each row of a part of A, by the lanes of the first of the warps that share the part.

        Blocks that share rows of A multicast one part each in turn, and each of them waits for all parts.
        """
        g, h, context, tile = self.g, self.context.hint, self.context, self.g.smem.a_tile
        part_bytes = tile.row_bytes // h.warps_k
        begin = context.warp_k * part_bytes
        bytes_: Expr = part_bytes
        size: Expr = T.uint32(part_bytes)
        if g.has_ragged_k:
            bytes_ = T.max(T.min(bytes_left - begin, part_bytes), 0)
            # In a register: TVM's simplifier fails on a cast of what has bounds below 0, where several copies share it.
            size = local("int32", bytes_).astype("uint32")
        rows: Expr = g.rows_of_a if rows_left is None else T.min(rows_left, g.rows_of_a)
        barrier = self._barrier(buffer, context.warp_k)
        name, mask = "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes", []
        sends: Expr = True
        if h.multicast > 1:
            name += ".multicast::cluster"
            blocks = sum(1 << member * h.split_k for member in range(h.multicast))
            mask = [T.cast(T.uint32(blocks) << T.cast(context.rank, "uint32"), "uint16")]
            sends = context.warp_k % h.multicast == context.member

        def copies() -> None:
            for first in range(0, g.rows_of_a, 32):
                row = first + context.lane
                with T.If(tirx.all(row < rows, bytes_ > 0)), T.Then():
                    target = context.shared(tile.offset(buffer, row, begin))
                    T.evaluate(T.ptx[name](target, source(row, begin), size, barrier, *mask))

        with T.If(context.warp_n == 0), T.Then():
            with T.If(context.lane == 0), T.Then():
                expect_bytes(barrier, rows * bytes_)
            T.evaluate(T.ptx["bar.warp.sync"](T.uint32(0xFFFFFFFF)))
            when(sends, copies)

    def zero_behind_k(self, at: Cursor, buffer: Expr) -> None:
        """Emit stores of zeros to a buffer where an iteration reaches beyond K: bulk copies leave that alone."""
        g, context, tile = self.g, self.context, self.g.smem.a_tile
        bytes_left = (self.config.K - at.a_k0) * g.a_bytes
        columns = tile.row_bytes // 16
        total = g.rows_of_a * columns
        with T.If(bytes_left < tile.row_bytes), T.Then(), T.serial(ceil_div(total, g.threads)) as step:
            index = step * g.threads + context.thread
            row, byte = index // columns, index % columns * 16
            with T.If(tirx.all(index < total, byte >= bytes_left)), T.Then():
                target = context.shared(tile.offset(buffer, row, byte))
                T.evaluate(T.ptx["st.shared.v4.u32"](target, *[T.uint32(0)] * 4))
