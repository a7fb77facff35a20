# SPDX-License-Identifier: Apache-2.0
"""The consumer warpgroups of the wgmma kernel: main loop and epilogue."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol

from tvm.script import tirx as T

from bitquant.intrin.mma import local, store_local, zero_local
from bitquant.intrin.wgmma import Cursor, commit_wgmma, fence_registers, fence_wgmma, row_descriptor, wait_wgmma
from bitquant.schedule.rules.hopper.emit.accumulate import (
    Accumulation,
    DirectAccumulation,
    Promotion,
)
from bitquant.schedule.rules.hopper.emit.context import Context, OperandCoord, WorkTile
from bitquant.schedule.rules.hopper.emit.grouped import GroupedSums
from bitquant.schedule.rules.hopper.emit.operand import DenseSource, FragmentOperand, FragmentSource
from bitquant.schedule.rules.hopper.emit.scheduler import TileScheduler
from bitquant.schedule.rules.hopper.emit.store import TileStore
from bitquant.schedule.rules.hopper.emit.sums_of_a import SumsOfA
from bitquant.schedule.rules.hopper.geometry import STEP_OPS, WgmmaGeometry
from bitquant.schedule.rules.operands import when

__all__ = ["DenseLoop", "FragmentLoop", "consume"]

Expr = Any


class MainLoop(Protocol):
    """The main loop of a consumer; it has declared the consumer's variables."""

    @property
    def totals(self) -> Sequence[Any]:
        """For each block of 64 rows its sums, once `run` is over."""

    def load_first(self, work_tile: WorkTile) -> None:
        """Emit the loads of the first scales of a block's first tile, where those of others are loaded ahead."""

    def run(self, work_tile: WorkTile) -> None:
        """Emit the products of a work tile."""


def consume(context: Context, scheduler: TileScheduler, source: FragmentSource | DenseSource) -> None:
    """Emit what a consumer does."""
    loop: MainLoop
    loop = DenseLoop(context, source) if isinstance(source, DenseSource) else FragmentLoop(context, source)
    if context.hint.multicast > 1:
        context.wait_for_cluster()
    tiles = scheduler.for_each_work_tile
    if context.hint.looks_ahead:
        tiles = functools.partial(scheduler.for_each_work_tile_ahead, loop.load_first)
    with tiles() as work_tile:
        loop.run(work_tile)
        TileStore(context, loop.totals, scheduler).store(work_tile)
    context.end_multicast()


class DenseLoop:
    """Both operands from shared memory: the products of a slot start while those of the one before are under way."""

    def __init__(self, context: Context, source: DenseSource) -> None:
        self.context, self.source = context, source
        g, h = context.g, context.hint
        self.totals = [T.alloc_local((g.sums,), g.sum_dtype) for _ in range(h.n_tiles_per_consumer)]
        #: The slot that is multiplied next, and `Cursor.offset` of the one released next.
        self.multiplying, self.releasing = Cursor(h.stages), T.alloc_local((1,), "uint32")
        store_local(self.releasing, 0, T.uint32(0))

    def run(self, work_tile: WorkTile) -> None:
        """Emit the products of a work tile."""
        ring, lane = self.context.ring, self.context.lane
        for sums in self.totals:
            zero_local(sums)
        with T.serial(work_tile.stages) as stage:
            ring.wait_full(self.multiplying)
            self._multiply_slot()
            wait_wgmma(1)
            ring.release(self.releasing[0], lane, stage > 0)
            store_local(self.releasing, 0, self.multiplying.offset)
            self.multiplying.advance()
        wait_wgmma(0)
        for sums in self.totals:
            fence_registers(sums)
        ring.release(self.releasing[0], lane)

    def load_first(self, work_tile: WorkTile) -> None:
        """Emit nothing: there are no scales."""

    def _multiply_slot(self) -> None:
        """Emit the products of a slot, as one group."""
        g = self.context.g
        a = _a_descriptor(self.context, self.multiplying)
        w = self.source.descriptor(self.context, self.multiplying)
        fence_wgmma()
        for step in range(g.steps):
            for j in range(STEP_OPS):
                for row in range(g.hint.n_tiles_per_consumer):
                    left = self.source.left(w, step, j, row)
                    _product(g, self.totals[row], [left], a, step, j)
        commit_wgmma()


class FragmentLoop:
    """Left operands in registers: while the tensor cores work on one, the next one is decoded."""

    def __init__(self, context: Context, source: FragmentSource) -> None:
        self.context = context
        g, h = context.g, context.hint
        sets = [
            [T.alloc_local((g.sums,), g.sum_dtype) for _ in range(h.n_tiles_per_consumer)] for _ in range(g.sum_sets)
        ]
        self.operand = FragmentOperand(context, source)
        self.accumulation = _accumulation(context, sets)
        #: Slots that are read next and multiplied now, the address of the one read now, and `Cursor.offset` of the one
        #: released next.
        self.reading, self.multiplying = Cursor(h.stages), Cursor(h.stages)
        self.slot_read, self.releasing = (T.alloc_local((1,), "uint32") for _ in range(2))
        store_local(self.releasing, 0, T.uint32(0))
        self.operand.begin()

    @property
    def totals(self) -> Sequence[Any]:
        """For each block of 64 rows its sums."""
        return self.accumulation.totals

    def run(self, work_tile: WorkTile) -> None:
        """Emit the products of a work tile."""
        context, g, loop = self.context, self.context.g, self.context.g.loop
        first_step = local("int32", (work_tile.first_stage + context.part_k * work_tile.stages) * g.steps)
        coords = [
            OperandCoord(stage, unit, step, row, (stage * g.units + unit) * g.unit_steps + step)
            for stage in range(loop.body_stages)
            for unit in range(g.units)
            for step in range(g.unit_steps)
            for row in range(g.hint.n_tiles_per_consumer)
        ]
        self.accumulation.begin_tile(work_tile, first_step)
        self.operand.begin_tile(work_tile, first_step)
        self._enter_slot()
        self.operand.begin_part(self.slot_read[0])
        self.accumulation.begin_part()
        self._decode(coords, 0, T.int32(0), has_next=work_tile.bodies > 1)
        if g.peels:
            with T.serial(work_tile.bodies - 1) as body:
                self._multiply_body(coords, body, work_tile.bodies, has_next=True)
            self._multiply_body(coords, T.int32(0) + (work_tile.bodies - 1), work_tile.bodies, has_next=False)
        else:
            with T.serial(work_tile.bodies) as body:
                self._multiply_body(coords, body, work_tile.bodies, has_next=body + 1 < work_tile.bodies)
        wait_wgmma(0)
        self.accumulation.end_tile()
        self._release()

    def load_first(self, work_tile: WorkTile) -> None:
        """Emit the loads of the first scales of a block's first tile, where those of others are loaded ahead."""
        self.accumulation.load_first(work_tile)
        self.operand.load_first(work_tile)

    def _multiply_body(self, coords: Sequence[OperandCoord], body: Expr, bodies: Expr, has_next: Expr | bool) -> None:
        """Emit the products of a body of `bodies`; `has_next` says whether there is another one to decode for."""
        for i, coord in enumerate(coords):
            self._multiply(coord, self.operand.left[i % 2], body)
            wait_wgmma(1)
            self.accumulation.add_previous(coords, i, body)
            self._release_before(coords, i, body)
            if i + 1 < len(coords):
                self._decode(coords, i + 1, body, has_next)
            else:
                when(has_next, lambda: self._decode(coords, 0, body + 1, body + 2 < bodies))
            self.accumulation.add_own(coords, i, body)

    def _multiply(self, coord: OperandCoord, left: Any, body: Expr) -> None:
        """Emit the products of one left operand with its step of A."""
        g = self.context.g
        step = coord.unit * g.unit_steps + coord.step
        descriptor = _a_descriptor(self.context, self.multiplying)

        def product(sums: Any, j: int, accumulates: bool) -> None:
            _product(g, sums, [left[4 * j + p] for p in range(4)], descriptor, step, j, accumulates)

        fence_wgmma()
        self.accumulation.multiply(coord, body, product)
        commit_wgmma()

    def _decode(self, coords: Sequence[OperandCoord], i: int, body: Expr, has_next: Expr | bool) -> None:
        """Emit the i-th left operand of a body, and then the loads of the codes that take the place of its own.

        `has_next` says whether there are codes behind those of the body.
        """
        g, operand, coord = self.context.g, self.operand, coords[i]
        left = operand.left[i % 2]
        operand.decode(coord, left, body)
        if g.is_narrow or g.scales_sums:
            # Decoding is so short here that the compiler might move it between the wgmma instructions that read it.
            fence_registers(left)
        if coord.step < g.unit_steps - 1:
            return
        # All codes of the unit are decoded: load those of the next one for the same rows.
        if coord.unit + 1 < g.units:
            operand.load_words(self.slot_read[0], coord.unit + 1, coord.row)
        elif coord.stage + 1 < g.loop.body_stages:
            self._load_next_stage(coord.row)
        else:
            when(has_next, lambda: self._load_next_stage(coord.row))

    def _load_next_stage(self, row: int) -> None:
        if row == 0:
            self._enter_slot()
        self.operand.load_words(self.slot_read[0], 0, row)

    def _enter_slot(self) -> None:
        """Emit the wait for the slot that is read next; its address is `slot_read` from then on.

        The cursor advances at once, so that only the wait itself precedes the next slot.
        """
        self.context.ring.wait_full(self.reading)
        store_local(self.slot_read, 0, self.context.slot(self.reading))
        self.reading.advance()

    def _release(self, *conditions: Expr) -> None:
        """Emit the release of a slot by this warp, under conditions."""
        self.context.ring.release(self.releasing[0], self.context.lane, *conditions)

    def _release_before(self, coords: Sequence[OperandCoord], i: int, body: Expr) -> None:
        """Emit the release of the slot that the left operand before the i-th was the last to use, if it was.

        If the i-th is the last to use its slot, that is released next, and another one multiplied.
        """
        if i == 0 or coords[i].stage != coords[i - 1].stage:
            self._release(*([] if i else [body > 0]))
        if i == len(coords) - 1 or coords[i].stage != coords[i + 1].stage:
            store_local(self.releasing, 0, self.multiplying.offset)
            self.multiplying.advance()


def _accumulation(context: Context, sets: Sequence[Sequence[Any]]) -> Accumulation:
    """Return how products are accumulated, in the registers `sets`."""
    if context.g.scales_sums:
        return GroupedSums(context, sets, SumsOfA(context))
    if context.g.products.promotes:
        return Promotion(context, sets[0])
    return DirectAccumulation(sets[0])


def _a_descriptor(context: Context, cursor: Cursor) -> Expr:
    """Emit the descriptor of this consumer's rows of A in a slot; return it."""
    g = context.g
    part = context.base + (context.part_k * (g.steps * g.memory.a_box_bytes)).astype("uint32")
    return local("uint64", row_descriptor(part, cursor.distance(g.memory.slot_bytes // 16)))


def _product(
    g: WgmmaGeometry, sums: Any, left: Sequence[Expr], a: Expr, step: int, j: int, accumulates: bool = True
) -> None:
    """Emit instruction j of a step: 32 bytes of k from those of A, whose descriptor counts 16 bytes."""
    right = a + T.uint64(step * g.memory.a_box_bytes // 16 + 2 * j)
    g.op.emit([sums[r] for r in range(g.sums)], left, right, accumulates)
