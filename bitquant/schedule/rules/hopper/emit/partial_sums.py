# SPDX-License-Identifier: Apache-2.0
"""Stream-K in the wgmma kernel: partial sums are added in global memory (`WgmmaHint.stream_k`).

Every block stores its partial sums of a split tile, and counts that it has. The one that counts last adds up all of
them, in the order of K, so that results do not depend on which that is. No block waits for another: of kernels that run
concurrently each could keep blocks of the other from starting.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm.script import tirx as T

from bitquant.intrin.launch import request_memory
from bitquant.intrin.mma import local, store_local
from bitquant.intrin.wgmma import WARPGROUP, named_barrier
from bitquant.schedule.rules.hopper.emit.context import Context, WorkTile
from bitquant.schedule.rules.hopper.emit.scheduler import TileScheduler
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.workspace import COUNTERS, SUMS

__all__ = ["PartialSums", "request_workspace"]

Expr = Any

#: Sums of a part that a thread loads at a time.
LOADED_SUMS = 16


def request_workspace(geometry: WgmmaGeometry) -> dict[str, Any]:
    """Emit, in host code, the request for the workspace; return its buffers, by the names of `Inputs`."""
    g = geometry
    if not g.hint.stream_k:
        return {}
    tiles = 2 * g.most_blocks  # Fewer are split.
    return {
        "partial_sums": request_memory(SUMS, "partial_sums", g.total_dtype, 2 * g.most_blocks * g.partial_sums),
        "counters": request_memory(COUNTERS, "counters", "uint32", tiles * g.hint.consumers_n),
    }


class PartialSums:
    """Emits the reduction of a consumer's partial sums with those of the same consumers of other blocks.

    A block has at most two parts of tiles: its first one may begin within a tile, and its last one may end within one.
    Each has a slot of the workspace, where a thread stores four sums at a time, coalesced with the other threads.

    Parameters
    ----------
    context
        Geometry, operands and indices of this thread.
    totals
        For each block of 64 rows this consumer's sums.
    scheduler
        What has split the tiles.
    """

    def __init__(self, context: Context, totals: Sequence[Any], scheduler: TileScheduler) -> None:
        self.context, self.totals, self.scheduler = context, totals, scheduler
        self._kind = "u32" if context.g.total_dtype == "uint32" else "f32"

    def complete(self, work_tile: WorkTile) -> Expr:
        """Emit what completes the sums of a tile; return whether this consumer has all of them now."""
        context = self.context
        is_complete = T.alloc_local((1,), "bool")
        store_local(is_complete, 0, T.bool(True))
        with T.If(work_tile.is_shared), T.Then():
            slot = context.block * 2 + T.Select(work_tile.first_body == 0, 1, 0)
            for row, sums in enumerate(self.totals):
                for first in range(0, context.g.sums, 4):
                    values = [sums[first + i] for i in range(4)]
                    T.evaluate(T.ptx[f"st.global.v4.{self._kind}"](self._address(slot, row, first), *values))
            first, last = self.scheduler.blocks_of_tile(work_tile)
            store_local(is_complete, 0, self._is_last(work_tile, last - first))
            with T.If(is_complete[0]), T.Then():
                self._add(first, last)
        return is_complete[0]

    def _add(self, first: Expr, last: Expr) -> None:
        """Emit totals = the sums of all parts of a tile: the first block's last one, and the others' first ones."""
        for row, sums in enumerate(self.totals):
            self._load(first * 2 + 1, row, 0, sums)
        terms = T.alloc_local((min(LOADED_SUMS, self.context.g.sums),), self.context.g.total_dtype)
        count = int(terms.shape[0])
        with T.serial(last - first) as other:
            slot = local("int32", (first + 1 + other) * 2)
            for row, sums in enumerate(self.totals):
                for at in range(0, self.context.g.sums, count):
                    self._load(slot, row, at, terms)
                    for i in range(min(count, self.context.g.sums - at)):
                        store_local(sums, at + i, sums[at + i] + terms[i])

    def _load(self, slot: Expr, row: int, first: int, registers: Any) -> None:
        """Emit the loads of this thread's sums of a part, from index `first` on, to all of the registers."""
        for i in range(0, min(int(registers.shape[0]), self.context.g.sums - first), 4):
            values = [registers[i + j] for j in range(4)]
            T.evaluate(T.ptx[f"ld.global.cg.v4.{self._kind}"](*values, self._address(slot, row, first + i)))

    def _address(self, slot: Expr, row: int, first: int) -> Expr:
        """Return the address of this thread's four sums of a part."""
        context = self.context
        piece = (slot * context.hint.consumers_n + context.part_n) * len(self.totals) + row
        piece = piece * (context.g.sums // 4) + first // 4
        return context.inputs.partial_sums.ptr_to([(piece * WARPGROUP + context.thread) * 4])

    def _is_last(self, work_tile: WorkTile, others: Expr) -> Expr:
        """Emit that this consumer has stored its part; return whether `others` had before it.

        One thread counts for the warpgroup, and tells the others by the shared memory through which D leaves. The last
        one makes the counter zero again.
        """
        context, memory = self.context, self.context.g.memory
        counter = context.inputs.counters.ptr_to([work_tile.index * context.hint.consumers_n + context.part_n])
        consumer_bytes = memory.slice_m * memory.out_stride
        note = context.base + (memory.out_offset + context.group * consumer_bytes).astype("uint32")
        before, barrier = T.alloc_local((1,), "uint32"), context.group + 1
        # Why the loads of a part see all of its stores (PTX ISA, "Memory Consistency Model"): bar.sync orders stores of
        # 128 threads before the fence of one, whose atomic releases them, since causality order is transitive. The
        # atomics of a counter read each other's values, so that the last one acquires what all released. The second
        # bar.sync orders it before the loads of the other threads. They are .cg because nothing is read twice.
        #
        # Why a kernel that is launched early (`with_dependent_launch`) does not come here too early: a consumer comes
        # here after a slot is full, with A that its producer copies behind griddepcontrol.wait. That returns when the
        # kernel before has ended: its counters are zero again, and the whole grid sees it. Each block has a slot to
        # wait for, because there are no more blocks than rounds.
        named_barrier(barrier, WARPGROUP)
        with T.If(context.thread == 0), T.Then():
            T.evaluate(T.ptx["fence.acq_rel.gpu"]())
            T.evaluate(T.ptx["atom.acq_rel.gpu.global.add.u32"](before[0], counter, T.uint32(1)))
            T.evaluate(T.ptx["st.shared.u32"](note, before[0]))
            with T.If(before[0] == others.astype("uint32")), T.Then():
                T.evaluate(T.ptx["st.relaxed.gpu.global.u32"](counter, T.uint32(0)))
        named_barrier(barrier, WARPGROUP)
        T.evaluate(T.ptx["ld.shared.u32"](before[0], note))
        named_barrier(barrier, WARPGROUP)
        return before[0] == others.astype("uint32")
