# SPDX-License-Identifier: Apache-2.0
"""Sums of the rows of A, which zero points need where sums are scaled: products with ones, by the producer's warps."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.arithmetic import ceil_div
from bitquant.intrin.launch import arrive, initialize_barrier
from bitquant.intrin.mma import MmaOp, local, store_local
from bitquant.intrin.wgmma import BARRIER_BYTES, SWIZZLE_BYTES, Cursor
from bitquant.schedule.rules.hopper.emit.context import Context
from bitquant.schedule.rules.hopper.emit.scheduler import TileScheduler
from bitquant.schedule.rules.hopper.registers import SUMMING_WARPS

__all__ = ["SumsOfA"]

Expr = Any

#: Rows of A of one product with ones, and independent sums that a warp has at most.
BLOCK_M, MAX_CHAINS = 16, 4
#: Lanes of a warp that store sums of A: one of the four that have those of two rows.
STORING_LANES = 8
#: A pair of ones in the types of A.
_ONES = {"float16": 0x3C003C00, "bfloat16": 0x3F803F80}


class SumsOfA:
    """Sums of the rows of A over each run of steps that shares a scale.

    Slot i of the ring has a barrier of its own, `ready`, which completes when its sums are stored, and float32 numbers
    (parts of K, runs that end in the slot, rows of A). They are free again when the slot is. Where a run takes several
    slots, the ring has a whole number of such runs, and only the barriers of those slots where one ends are used.

    Parameters
    ----------
    context
        Geometry, operands and indices of this thread.
    """

    def __init__(self, context: Context) -> None:
        self.context = context

    def _ready(self, offset: Expr) -> Expr:
        """Return the address of a slot's barrier for its sums, by the slot's `Cursor.offset`."""
        return self.context.base + T.uint32(self.context.g.memory.ready_offset) + offset

    def address(self, cursor: Cursor, part: Expr, run: int) -> Expr:
        """Return the address of the sums of a part's run in a slot."""
        context, g = self.context, self.context.g
        run_bytes = 4 * g.hint.block_m
        slot_bytes = g.hint.consumers_k * g.loop.runs_in_slot * run_bytes
        in_slot = (part * g.loop.runs_in_slot + run) * run_bytes
        return context.base + cursor.distance(slot_bytes) + (g.memory.sums_offset + in_slot).astype("uint32")

    def initialize(self) -> None:
        """Emit the initialization of the barriers, by one thread, before those of the ring are fenced."""
        for slot in range(self.context.hint.stages):
            ready = self._ready(T.uint32(BARRIER_BYTES * slot))
            initialize_barrier(ready, SUMMING_WARPS * STORING_LANES)

    def wait(self, cursor: Cursor) -> None:
        """Emit the wait for a slot's sums."""
        T.evaluate(T.cuda.mbarrier_wait(self._ready(cursor.offset), cursor.phase.astype("int32")))

    def produce(self, scheduler: TileScheduler) -> None:
        """Emit the sums of all slots of this block's work tiles, by one of the warps."""
        context, h, loop = self.context, self.context.hint, self.context.g.loop
        cursor = Cursor(h.stages)
        blocks_of_part = ceil_div(h.block_m, BLOCK_M)
        blocks = h.consumers_k * blocks_of_part
        #: Warp w of the summing ones takes blocks w, w + 3, ...
        blocks_per_warp = ceil_div(blocks, SUMMING_WARPS)
        chains = max(1, MAX_CHAINS // blocks_per_warp)
        sums = [[T.alloc_local((4,), "float32") for _ in range(chains)] for _ in range(blocks_per_warp)]
        block = [local("int32", context.warp - 1 + i * SUMMING_WARPS) for i in range(blocks_per_warp)]
        with scheduler.for_each_work_tile() as work_tile, T.serial(work_tile.bodies):
            for stage in range(loop.body_stages):
                context.ring.wait_full(cursor)
                for i in range(blocks_per_warp):
                    part, row = block[i] // blocks_of_part, block[i] % blocks_of_part * BLOCK_M
                    if (i + 1) * SUMMING_WARPS > blocks:
                        with T.If(block[i] < blocks), T.Then():
                            self._add(cursor, stage, part, row, sums[i])
                    else:
                        self._add(cursor, stage, part, row, sums[i])
                if (stage + 1) % loop.slots_of_run == 0:
                    # Each lane that stores arrives for itself.
                    with T.If(context.lane % (32 // STORING_LANES) == 0), T.Then():
                        arrive(self._ready(cursor.offset))
                T.evaluate(T.ptx["bar.warp.sync"](T.uint32(0xFFFFFFFF)))
                context.ring.release(cursor.offset, context.lane)
                cursor.advance()

    def _add(self, cursor: Cursor, stage: int, part: Expr, row: Expr, sums: Sequence[Any]) -> None:
        """Emit the sums of 16 rows of A over a slot's steps, and their stores where runs end.

        Products rotate over the independent accumulators `sums`: they wait for those of the consumers anyway.
        """
        context, g, h = self.context, self.context.g, self.context.hint
        product = MmaOp(g.op.left, g.op.right, has_k16=True)
        ones = [T.uint32(_ONES[g.products.operand])] * 2
        line = context.lane % BLOCK_M
        # Lanes name rows of 16 bytes: 16 rows of A and 2 chunks of k, where the swizzle has put them.
        place_in_box = (row + line) * SWIZZLE_BYTES + ((context.lane // BLOCK_M) ^ (line % 8)) * 16
        steps_of_product = SWIZZLE_BYTES // 32
        for step in range(g.steps):
            body_step = stage * g.steps + step
            if body_step % g.loop.run_steps == 0:
                for chain in sums:
                    for i in range(4):
                        store_local(chain, i, T.float32(0))
            box = (part * g.steps + step) * g.memory.a_box_bytes
            address = local("uint32", context.slot(cursor) + (box + place_in_box).astype("uint32"))
            left = T.alloc_local((4 * steps_of_product,), "uint32")
            for j in range(steps_of_product):
                registers = [left[4 * j + i] for i in range(4)]
                T.evaluate(T.ptx["ldmatrix.sync.aligned.m8n8.x4.shared.b16"](*registers, address ^ T.uint32(32 * j)))
            for j in range(steps_of_product):
                chain = sums[(body_step * steps_of_product + j) % len(sums)]
                product.emit([chain[i] for i in range(4)], [left[4 * j + i] for i in range(4)], ones)
            if (body_step + 1) % g.loop.run_steps == 0:
                # All columns of the product are equal: the first lane of four holds those of rows g and g + 8.
                at = self.address(cursor, part, step // g.loop.run_steps)
                for half in range(2):
                    at_row = row + context.lane // 4 + 8 * half
                    with T.If(tirx.all(context.lane % (32 // STORING_LANES) == 0, at_row < h.block_m)), T.Then():
                        total = functools.reduce(operator.add, [chain[2 * half] for chain in sums])
                        T.evaluate(T.ptx["st.shared.f32"](at + (at_row * 4).astype("uint32"), total))
