# SPDX-License-Identifier: Apache-2.0
"""What the emitters of a wgmma kernel share: geometry, operands, indices of a thread, and work tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.script import tirx as T

from bitquant.intrin.launch import arrive_at_cluster, wait_for_cluster
from bitquant.intrin.mma import local
from bitquant.intrin.wgmma import WARPGROUP, Cursor, Ring
from bitquant.schedule.rules.hopper.geometry import WgmmaGeometry
from bitquant.schedule.rules.hopper.hint import ROWS
from bitquant.schedule.rules.hopper.registers import SUMMING_WARPS
from bitquant.schedule.rules.operands import Operands

__all__ = ["Context", "Inputs", "OperandCoord", "WorkTile"]

Expr = Any


@dataclass(frozen=True)
class OperandCoord:
    """Coordinates of one left operand in the body of the loop.

    Attributes
    ----------
    stage, unit, step, row
        Slot of the body, unit of the slot, step of the unit, and block of 64 rows.
    body_step
        Step of the body.
    """

    stage: int
    unit: int
    step: int
    row: int
    body_step: int


@dataclass(frozen=True)
class WorkTile:
    """What a thread block computes at a time: an output tile, or its part of K of one (split-K).

    Attributes
    ----------
    m0, n0
        First row of A, and first row of W.
    first_stage
        First slot along K of the block's first part.
    stages, bodies
        Slots that each part reads, and rounds of the loop.
    is_shared
        Whether other blocks compute the other parts of K; None where the hint alone decides: all tiles are, or none.
    first_body
        With `stream_k`: the first round of the loop, counted in those of the whole tile.
    index
        With `stream_k`: the tile's index among those whose K is split.
    row_end
        The row of A behind the last one that is stored.
    expert
        Index of the weight, where there are several.
    following
        With `looks_ahead`: the block's next tile, or this one again if it is the last.
    """

    m0: Expr
    n0: Expr
    first_stage: Expr
    stages: Expr
    bodies: Expr
    is_shared: Expr | None = None
    first_body: Expr = None
    index: Expr = None
    row_end: Expr = None
    expert: Expr = None
    following: WorkTile | None = None

    def row_of_weights(self, row: Expr, rows: int) -> Expr:
        """Return the place of a row of the tile's weight among those of all weights, of so many rows each."""
        return row if self.expert is None else self.expert * rows + row

    def of_weight(self, operand: Any) -> Any:
        """Return an operand of all weights, scales or zero points, as that of the tile's weight."""
        return operand if self.expert is None else operand.of(self.expert)


@dataclass(frozen=True)
class Inputs:
    """The function's operands, and the addresses of the tensor maps of A and of the weight.

    With `stream_k` also the workspace: buffers of partial sums, and of counters of the parts that are stored.
    """

    operands: Operands
    a_map: Expr
    w_map: Expr
    partial_sums: Any = None
    counters: Any = None


class Context:
    """Geometry, operands and indices of this thread. It does not change.

    Parameters
    ----------
    geometry
        That of the kernel.
    inputs
        The function's operands.
    block, rank, thread
        Index of the block, its rank in its cluster, and index of the thread in the block.
    arena
        The block's shared memory.

    Attributes
    ----------
    base
        Address of the shared memory.
    lane, warp, thread, group
        Lane of the warp, warp and thread of the warpgroup, and warpgroup of the block.
    part_n, part_k
        Index of the consumer along n and along k.
    share
        Index of the columns that it stores where K is split (`Exchange`).
    ring
        Barriers of the slots.
    """

    def __init__(
        self, geometry: WgmmaGeometry, inputs: Inputs, block: Expr, rank: Expr, thread: Expr, arena: Any
    ) -> None:
        self.g, self.config, self.hint = geometry, geometry.config, geometry.hint
        self.inputs, self.block, self.rank = inputs, block, rank
        h, memory = geometry.hint, geometry.memory
        self.base = local("uint32", T.cuda.cvta_generic_to_shared(arena.ptr_to([0])))
        self.lane, self.warp = thread % 32, thread // 32 % 4
        self.thread = thread % WARPGROUP
        # A shuffle tells the compiler that all lanes have the same warpgroup, so that branches on it are uniform.
        self.group = local("int32", T.tvm_warp_shuffle(T.uint32(0xFFFFFFFF), thread // WARPGROUP, 0, 32, 32))
        self.part_n = self.group // h.consumers_k
        self.part_k = self.group % h.consumers_k
        self.share = self.part_k * h.split_k + rank
        readers = 4 * h.consumers + (SUMMING_WARPS if geometry.needs_sums_of_a else 0)
        self.ring = Ring(self.base + T.uint32(memory.barrier_offset), h.stages, readers, h.multicast)

    @property
    def is_producer(self) -> Expr:
        """Whether this thread belongs to the producing warpgroup."""
        return self.group == self.hint.consumers

    def row_of_w(self, n0: Expr, row: int, half: int) -> Expr:
        """Return the row of W that row g + 8 * half of a row block is, or the last one for those beyond N."""
        n = (
            n0
            + (self.part_n * self.hint.n_tiles_per_consumer + row) * ROWS
            + self.warp * 16
            + self.lane // 4
            + 8 * half
        )
        return T.min(n, self.config.N - 1) if self.g.has_ragged_n or self.hint.n_tiles_per_cta else n

    def slot(self, cursor: Cursor) -> Expr:
        """Return the address of a slot of the ring."""
        return self.base + cursor.distance(self.g.memory.slot_bytes)

    def first_k(self, work_tile: WorkTile, part: int, stage: Expr) -> Expr:
        """Return the first k of a slot, for one of the consumers along k."""
        return part * (work_tile.stages * self.hint.block_k) + (work_tile.first_stage + stage) * self.hint.block_k

    def arrive_at_cluster(self) -> None:
        """Emit the arrival at a barrier of all threads of the cluster, if there is one."""
        if self.hint.cluster > 1:
            arrive_at_cluster()

    def wait_for_cluster(self) -> None:
        """Emit the wait for all threads of the cluster, if there is one."""
        if self.hint.cluster > 1:
            wait_for_cluster()

    def end_multicast(self) -> None:
        """Emit the last cluster barrier under multicast: no block exits while others may copy to its shared memory."""
        if self.hint.multicast > 1:
            self.arrive_at_cluster()
            self.wait_for_cluster()
