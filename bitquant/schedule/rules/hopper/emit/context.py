# SPDX-License-Identifier: Apache-2.0
"""What the emitters of a wgmma kernel share: geometry, operands, and where this thread and its job stand."""

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

__all__ = ["Context", "Inputs", "Job", "Place"]

Expr = Any


@dataclass(frozen=True)
class Place:
    """Where one left operand stands in the body of the loop.

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
class Job:
    """What a block computes at a time: a tile, or, where K is shared, its share of one.

    Attributes
    ----------
    m0, n0
        First row of A and of W.
    first_stage
        First slot along K of the block's first part.
    stages, bodies
        Slots that each part reads, and rounds of the loop.
    is_shared
        Whether other blocks have the other shares of the tile; None: as the hint says, always or never.
    first_body
        Where tiles are cut by `stream_k`: the first round of the loop, in those of the whole tile.
    index
        The tile's number among those that are cut.
    """

    m0: Expr
    n0: Expr
    first_stage: Expr
    stages: Expr
    bodies: Expr
    is_shared: Expr | None = None
    first_body: Expr | None = None
    index: Expr | None = None


@dataclass(frozen=True)
class Inputs:
    """The function's operands, and the addresses of the tensor maps of A and of the weight.

    Where tiles are cut by `stream_k`, also buffers of the sums of their parts, and of counters of stored ones.
    """

    operands: Operands
    a_map: Expr
    w_map: Expr
    partial_sums: Any = None
    counters: Any = None


class Context:
    """Where this thread stands, and the geometry and operands that it works on. Nothing of it changes.

    Parameters
    ----------
    geometry
        That of the kernel.
    inputs
        The function's operands.
    block, rank, thread
        Index of the block, its place in its cluster, and index of the thread in the block.
    arena
        The block's shared memory.

    Attributes
    ----------
    base
        Address of the shared memory.
    lane, warp, thread, group
        Lane of the warp, warp and thread of the warpgroup, and warpgroup of the block.
    part_n, part_k
        The consumer's place among those along n and along k.
    share
        Its share of the sums where K is shared (`Exchange`).
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

    def first_k(self, job: Job, part: int, stage: Expr) -> Expr:
        """Return where a slot's share of K begins, for one of the block's parts."""
        return part * (job.stages * self.hint.block_k) + (job.first_stage + stage) * self.hint.block_k

    def arrive_at_cluster(self) -> None:
        """Emit the arrival at a barrier of all threads of the cluster, if there is one."""
        if self.hint.cluster > 1:
            arrive_at_cluster()

    def wait_for_cluster(self) -> None:
        """Emit the wait for all threads of the cluster, if there is one."""
        if self.hint.cluster > 1:
            wait_for_cluster()

    def end_multicast(self) -> None:
        """Emit the last meeting of blocks that send each other A: none ends while others may copy to it."""
        if self.hint.multicast > 1:
            self.arrive_at_cluster()
            self.wait_for_cluster()
