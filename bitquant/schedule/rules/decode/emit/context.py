# SPDX-License-Identifier: Apache-2.0
"""What the emitters of a decode kernel share: operands, indices of a block and a thread, positions in its loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tvm.script import tirx as T

from bitquant.intrin.mma import local, store_local
from bitquant.schedule.rules.decode.geometry import DecodeGeometry

__all__ = ["Context", "Cursor", "Unit", "first_phase_of"]

Expr = Any


def first_phase_of(g: DecodeGeometry, block: Expr) -> Expr:
    """Return the first phase of a block's share, with stream-K, of those of all blocks of n."""
    return T.truncdiv(block * g.all_phases, g.grid_n)


class Unit(Protocol):
    """Rows of A that blocks multiply with one weight, each block by other rows of it.

    Parameters
    ----------
    context
        Geometry, operands and indices of this block and thread.
    index
        Index of the unit among all.

    Attributes
    ----------
    B, Scale, Zeros
        The operands of that weight; None for those that the problem does not have.
    """

    B: Any
    Scale: Any
    Zeros: Any

    def __init__(self, context: Context, index: Expr) -> None: ...

    @staticmethod
    def count(geometry: Any, m: Expr) -> Expr:
        """Return how many units m rows of A, or tokens, may take."""

    @property
    def rows_left(self) -> Expr | None:
        """The rows of A from the unit's first one on, if there may be fewer than `DecodeGeometry.rows_of_a`."""

    def has_row(self, m: Expr) -> list[Expr]:
        """Return the conditions, none or one, on which the unit has an m-th row."""

    def pointer_to_A(self, m: Expr, k: Expr) -> Expr:
        """Return the pointer to element k of the m-th row of A."""

    def store(self, m: Expr, n: Expr, sums: Sequence[Expr]) -> None:
        """Emit what becomes of the sum over k of the m-th row and row n of W, or two with an activation."""

    def end_block(self, n0: Expr) -> None:
        """Emit what comes after the last `store` to the block of n from `n0` on."""


class Context:
    """The function's operands, and the indices of this block and thread.

    Parameters
    ----------
    geometry
        How the kernel cuts the problem.
    operands
        The function's operands.
    arena
        The block's shared memory, a uint8 buffer.
    cluster, rank, thread
        Index of the block's cluster, and of the block in it; index of the thread in the block.
    unit_type
        What divides the rows of A among the blocks.

    Attributes
    ----------
    g, config, hint
        The geometry, and what it is made of.
    lane, warp_n, warp_k
        Index of the thread in its warp; of the warp along n and along k.
    block_rank
        This block's index in its cluster.
    block
        Index of the block's cluster; of the block, where that is one.
    rank, member
        This block's index among those that split K, and among those that share rows of A by multicast.
    unit
        Which rows of A the block multiplies, with which weight, and where the results go.
    first_block_n
        First block of n.
    first_phase
        First phase of k.
    iterations
        Iterations of the outer loop.
    """

    def __init__(
        self,
        geometry: DecodeGeometry,
        operands: Any,
        arena: Any,
        cluster: Expr,
        rank: Expr,
        thread: Expr,
        unit_type: type[Unit],
    ) -> None:
        g, h = geometry, geometry.hint
        self.g, self.config, self.hint = g, g.config, h
        self.operands, self.m, self.arena, self.thread = operands, operands.rows, arena, thread
        self.block_rank, self.member = rank, 0
        if h.split_k * h.multicast == 1:
            rank = 0
        if h.multicast > 1:
            self.member, rank = rank // h.split_k, rank % h.split_k
        self.rank, self.block = rank, cluster
        self.lane, warp = thread % 32, thread // 32
        self.warp_k, self.warp_n = warp // h.warps_n, warp % h.warps_n
        units = unit_type.count(g, self.m)
        self.first_block_n = T.truncdiv(cluster, units) * h.multicast + self.member
        self.unit = unit_type(self, T.truncmod(cluster, units))
        self.first_phase = local("int32", first_phase_of(g, cluster)) if h.stream_k else rank
        self.iterations: Expr
        if g.static_iterations is not None:
            self.iterations = g.static_iterations
            if not g.a_stays:
                self.first_phase = rank * g.static_iterations
        elif h.stream_k:
            self.iterations = local("int32", first_phase_of(g, cluster + 1) - self.first_phase)
        elif g.a_stays:
            self.iterations = T.truncdiv(g.blocks_n - self.first_block_n + (g.grid_n - 1), g.grid_n)
        else:
            bounds = T.alloc_local((2,), "int32")
            store_local(bounds, 0, rank * g.phases // h.split_k)
            store_local(bounds, 1, (rank + 1) * g.phases // h.split_k - bounds[0])
            self.first_phase, self.iterations = bounds[0], bounds[1]

    @property
    def first_k(self) -> Expr:
        """First k of this block."""
        return self.first_phase * self.g.phase_k

    def shared(self, offset: Expr) -> Expr:
        """Return the pointer to a byte of the block's shared memory."""
        return self.arena.ptr_to([offset])

    def column(self, r: int, half: int) -> Expr:
        """Return the n in the block of this lane's row g (0) or g + 8 (1) of W, in the r-th tile of this warp."""
        return (self.warp_n * self.hint.n_tiles_per_warp + r) * 16 + half * 8 + self.lane // 4

    def at(self, iteration: Expr, body: Expr = 0) -> Cursor:
        """Return the position of a body of an iteration."""
        return Cursor(self, iteration, body)


@dataclass(frozen=True)
class Cursor:
    """A position in the loops of a block: an iteration of the outer loop, and a body of the inner one."""

    context: Context
    iteration: Expr
    body: Expr

    @property
    def n0(self) -> Expr:
        """First n of the iteration."""
        if self.context.hint.stream_k:
            return T.truncdiv(self.shared_phase, self.context.g.phases) * self.context.g.block_n
        g, block = self.context.g, self.context.first_block_n
        if g.a_stays and g.max_iterations > 1:
            block = block + self.iteration * g.grid_n
        return block * g.block_n

    @property
    def shared_phase(self) -> Expr:
        """With stream-K, the iteration's phase of those of all blocks of n."""
        return self.context.first_phase + self.iteration

    @property
    def a_k0(self) -> Expr:
        """First k of what is in the iteration's buffer of A."""
        return 0 if self.context.hint.stream_k else self.k0

    @property
    def factors_k0(self) -> Expr:
        """First k of the staged scales and zero points: with stream-K those of a phase, else of the block."""
        return self.k0 if self.context.hint.stream_k else self.context.first_k

    @property
    def phase(self) -> Expr:
        """The phase of k, of all those of the cluster."""
        context = self.context
        if context.hint.stream_k:
            return T.truncmod(self.shared_phase, context.g.phases)
        return context.first_phase if context.g.a_stays else context.first_phase + self.iteration

    @property
    def k0(self) -> Expr:
        """First k of the iteration's phase."""
        return self.phase * self.context.g.phase_k

    @property
    def tile(self) -> Expr:
        """First tile of k of this warp's body."""
        part = self.phase * self.context.hint.warps_k + self.context.warp_k
        return part * self.context.g.part_tiles + self.body * self.context.hint.unroll

    @property
    def tile_of_phase(self) -> Expr:
        """The same, counted from the beginning of the buffer of A on."""
        if self.context.hint.stream_k:
            return self.tile
        return self.context.warp_k * self.context.g.part_tiles + self.body * self.context.hint.unroll

    def after(self, bodies: int) -> tuple[Cursor, Expr]:
        """Return the position so many bodies later, maybe in a later iteration, and whether there is one."""
        g, body = self.context.g, self.body + bodies
        if g.static_iterations == 1:
            return Cursor(self.context, self.iteration, body), body < g.bodies
        later = self.iteration + T.truncdiv(body, g.bodies)
        return Cursor(self.context, later, T.truncmod(body, g.bodies)), later < self.context.iterations
