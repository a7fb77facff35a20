# SPDX-License-Identifier: Apache-2.0
"""The producing warpgroup of the wgmma kernel: copies by TMA, and sums of A by the warps that copy nothing."""

from __future__ import annotations

from typing import Any

from tvm.script import tirx as T

from bitquant.intrin.launch import trigger_dependent_launch, wait_for_dependency
from bitquant.intrin.mma import local, store_local
from bitquant.intrin.wgmma import Cursor, load_box
from bitquant.schedule.rules.hopper.emit.context import Context, WorkTile
from bitquant.schedule.rules.hopper.emit.operand import DenseSource, FragmentSource
from bitquant.schedule.rules.hopper.emit.scheduler import TileScheduler
from bitquant.schedule.rules.hopper.emit.sums_of_a import SumsOfA

__all__ = ["Producer"]

Expr = Any


class Producer:
    """Emits what the producing warpgroup does.

    Parameters
    ----------
    context, scheduler
        Geometry, operands and indices of this thread, and the work tiles of its block.
    source
        Where the left operand comes from.
    sums_of_a
        What sums A, if need be.
    """

    def __init__(
        self, context: Context, scheduler: TileScheduler, source: FragmentSource | DenseSource,
        sums_of_a: SumsOfA | None,
    ) -> None:  # fmt: skip
        self.context, self.scheduler, self.source, self.sums_of_a = context, scheduler, source, sums_of_a

    def produce(self) -> None:
        """Emit all of it: one thread copies, and warps that copy nothing sum A if need be."""
        context, h = self.context, self.context.hint
        with T.If(context.thread == 0):
            with T.Then():
                self._copy()
            if h.multicast > 1:
                with T.Else():
                    context.wait_for_cluster()
        if self.sums_of_a is not None:
            with T.If(context.warp > 0), T.Then():
                self.sums_of_a.produce(self.scheduler)
        if h.tail_split > 1:
            with T.If(self.scheduler.has_split_tile), T.Then():
                self._join_exchange()
        elif context.g.exchange:
            self._join_exchange()
        context.end_multicast()

    def _join_exchange(self) -> None:
        """Emit the producer's arrivals at the cluster barriers before and after partial sums are sent."""
        if self.context.g.memory.exchanges_in_ring:
            self.context.arrive_at_cluster()
        self.context.wait_for_cluster()
        self.context.arrive_at_cluster()
        self.context.wait_for_cluster()

    def _copy(self) -> None:
        """Emit all copies of a block, by one thread.

        The first slots get their part of the weight before the kernel before this one has ended; A may be its result.
        Only then may the next kernel start, so that no kernel starts before the last but one has ended.
        """
        context, scheduler, source, h = self.context, self.scheduler, self.source, self.context.hint
        ring, slot_bytes = context.ring, context.g.memory.slot_bytes
        work_tile = scheduler.work_tile(scheduler.first_work_tile)
        first: Expr = min(h.stages, context.g.loop.part_stages)
        is_fetched_early = source.is_fetched_early and not scheduler.tiles_are_data
        if h.tail_split > 1 or scheduler.tiles_are_data:
            # Blocks have no work tile where the last wave has too many tiles to be split, or the rows too few.
            first = local(
                "int32",
                T.Select(scheduler.first_work_tile < scheduler.work_tile_count, T.min(first, work_tile.stages), 0),
            )
        elif context.g.shares_unequally or h.stream_k:
            first = local("int32", T.min(first, work_tile.stages))
        for_w, for_both = Cursor(h.stages), Cursor(h.stages)
        if not is_fetched_early:
            wait_for_dependency()
        with T.serial(first) as stage:
            ring.expect(for_w, slot_bytes)
            source.load(context, work_tile, stage, for_w)
            for_w.advance()
        if is_fetched_early:
            wait_for_dependency()
        trigger_dependent_launch()
        if h.multicast > 1:
            # The mbarriers of the other blocks are initialized.
            context.wait_for_cluster()
        with T.serial(first) as stage:
            self._load_a(work_tile, stage, for_both)
            for_both.advance()
        done = T.alloc_local((1,), "int32")
        store_local(done, 0, T.int32(first) if isinstance(first, int) else first)
        with scheduler.for_each_work_tile() as work_tile:
            with T.serial(work_tile.stages - done[0]) as later:
                ring.wait_empty(for_both)
                ring.expect(for_both, slot_bytes)
                self._load_a(work_tile, done[0] + later, for_both)
                source.load(context, work_tile, done[0] + later, for_both)
                for_both.advance()
            store_local(done, 0, T.int32(0))

    def _load_a(self, work_tile: WorkTile, stage: Expr, cursor: Cursor) -> None:
        """Emit the copies of a slot's boxes of A: all of it, or this block's share, by multicast to the cluster."""
        context, g, h = self.context, self.context.g, self.context.hint
        full, box_bytes = context.ring.full(cursor.offset), g.memory.a_box_bytes

        def load(box: int, k: Expr, share: Expr, blocks: int) -> None:
            target = context.slot(cursor) + T.uint32(box * box_bytes)
            if h.multicast > 1:
                target = target + (share * (box_bytes // h.multicast)).astype("uint32")
            load_box(target, context.inputs.a_map, [k, work_tile.m0 + share * (h.block_m // h.multicast)], full, blocks)

        for part in range(h.consumers_k):
            for step in range(g.steps):
                box, k = part * g.steps + step, context.first_k(work_tile, part, stage) + step * g.step_k
                if h.multicast == 1:
                    load(box, k, 0, 1)
                elif work_tile.is_shared is None:
                    load(box, k, context.rank, h.multicast)
                else:
                    with T.If(work_tile.is_shared):
                        with T.Then():
                            for share in range(h.multicast):
                                load(box, k, T.int32(share), 1)
                        with T.Else():
                            load(box, k, context.rank, h.multicast)
