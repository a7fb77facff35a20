# SPDX-License-Identifier: Apache-2.0
"""Sums over the slots of a token, of which different blocks have the values.

`ClusterSums`: the blocks of a cluster have all slots of a token, and read the values in each other's shared memory.

`SlotSums`: in global memory. Every block stores the values of its slots in float32, and counts for each of them that it
has. The one that counts last for a token adds up the values of the token's slots in their order, so that results do not
depend on which that is. No block waits for another (`bitquant.schedule.rules.hopper.emit.partial_sums` says why loads
see the stores).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from tvm import tirx
from tvm.script import tirx as T

from bitquant.compute.grouped import rounded_output
from bitquant.intrin.launch import arrive_at_cluster, request_memory, wait_for_cluster
from bitquant.intrin.mma import load_coherent, local, store_local, zero_local
from bitquant.schedule.rules.decode.emit.context import Context
from bitquant.schedule.rules.decode.grouped.geometry import GroupedDecodeGeometry
from bitquant.schedule.rules.operands import GroupedOperands
from bitquant.workspace import COUNTERS, SUMS

__all__ = ["ClusterSums", "SlotSums", "request_workspace"]

Expr = Any


class Slots(Protocol):
    """The slots of a block (`bitquant.schedule.rules.decode.emit.experts.RowsOfExpert`)."""

    @property
    def expert(self) -> Expr:
        """Their expert; -1 where the block has none."""

    @property
    def rows_left(self) -> Expr | None:
        """How many they are, where that is not 1."""

    def row(self, m: Expr) -> Expr:
        """Return the m-th of them."""

    def each_column(self, emit: Callable[[Expr], None]) -> None:
        """Emit statements for each column of D of this block, by its threads."""

    def each_column_of(self, block: Expr, thread: Expr, threads: int, emit: Callable[[Expr], None]) -> None:
        """Emit statements for each column of D of one of this block's blocks of n, by so many threads."""


def request_workspace(geometry: GroupedDecodeGeometry, operands: GroupedOperands) -> None:
    """Emit, in host code, the request for the workspace of sums over slots, where there are any."""
    g, c = geometry, geometry.experts_config
    if g.sums_slots and not g.sums_in_cluster:
        m = T.cast(operands.rows, "int64")
        operands.slot_values = request_memory(SUMS, "slot_values", "float32", m * (c.rows_per_m * c.columns))
        operands.counters = request_memory(COUNTERS, "counters", "uint32", m * _counters(g))


def _counters(g: GroupedDecodeGeometry) -> int:
    """Return the counters of a token: one for each block of n, or for those that a block has."""
    return g.blocks_n if g.is_persistent else g.grid_n


class SlotSums:
    """Emits the stores of slots' values, and the sums of tokens that a block completes.

    Parameters
    ----------
    context
        Geometry, operands and indices of this block and thread.
    unit
        The slots of the block.
    """

    def __init__(self, context: Context, unit: Slots) -> None:
        g: Any = context.g
        self.g: GroupedDecodeGeometry = g
        self.context, self.unit = context, unit
        self.config = self.g.experts_config

    def store(self, slot: Expr, column: Expr, value: Expr) -> None:
        """Emit the store of the value of a slot."""
        T.evaluate(T.ptx["st.global.f32"](self._value_address(slot, column), value))

    def _value_address(self, slot: Expr, column: Expr) -> Expr:
        at = slot.astype("int64") * self.config.columns + column
        return self.context.operands.slot_values.ptr_to([at])

    def finish(self) -> None:
        """Emit the count of this block's slots, and the sums of tokens all of whose slots have been counted.

        One block of a cluster counts: the barrier of the cluster has ordered the stores of the others before.
        """
        g, context = self.g, self.context
        rows = self.unit.rows_left if g.collects else 1
        T.evaluate(T.cuda.cta_sync())
        with T.If(tirx.all(self.unit.expert >= 0, context.rank == 0)), T.Then():
            if g.is_persistent:
                self._each_pair(rows, context.thread, g.threads, self._count)
                T.evaluate(T.cuda.cta_sync())
                self._each_pair(rows, context.thread // 32, g.threads // 32, self._add_of_block)
                return
            with T.If(context.thread < 32), T.Then():
                for first in range(0, g.rows_of_a, 32):
                    m = first + context.lane
                    with T.If(m < rows), T.Then():
                        self._count(m, 0)
            T.evaluate(T.cuda.cta_sync())
            with T.serial(rows) as m, T.If(self._completes(m, 0)), T.Then():
                self._add(local("int32", self._token(m)), self.unit.each_column)

    def _each_pair(self, rows: Expr, first: Expr, step: int, emit: Callable[[Expr, Expr], None]) -> None:
        """Emit statements for each row and block of n of a persistent block, shared out among threads, or warps.

        Blocks of n are counted one by one: which of them another block has together is another matter.
        """
        pairs = rows * self.context.iterations
        with T.serial(T.truncdiv(pairs + (step - 1), step)) as turn:
            index = local("int32", turn * step + first)
            with T.If(index < pairs), T.Then():
                emit(T.truncmod(index, rows), T.truncdiv(index, rows))

    def _add_of_block(self, m: Expr, block: Expr) -> None:
        """Emit, by a warp, the sums of a row's token of the columns of one block of n, where they are complete."""
        with T.If(self._completes(m, block)), T.Then():
            each_column = functools.partial(self.unit.each_column_of, block, self.context.lane, 32)
            self._add(local("int32", self._token(m)), each_column)

    def _completes(self, m: Expr, block: Expr) -> Expr:
        """Emit the load of what `_count` noted; return whether this block completes the sum of the row's token."""
        completes = T.alloc_local((1,), "uint32")
        T.evaluate(T.ptx["ld.shared.u32"](completes[0], self._complete_address(m, block)))
        return completes[0] != T.uint32(0)

    def _token(self, m: Expr) -> Expr:
        return T.truncdiv(self.unit.row(m), self.config.rows_per_m)

    def _complete_address(self, m: Expr, block: Expr) -> Expr:
        return self.context.shared(self.g.complete_offset + (block * self.g.rows_of_a + m) * 4)

    def _count(self, m: Expr, block: Expr) -> None:
        """Emit the count of a slot, and the note whether it is the last of its token, whose counter is zero again."""
        token = local("int32", self._token(m))
        at = token * _counters(self.g) + self.context.first_block_n + block
        counter = self.context.operands.counters.ptr_to([at])
        before = T.alloc_local((1,), "uint32")
        last = T.uint32(self.config.rows_per_m - 1)
        T.evaluate(T.ptx["fence.acq_rel.gpu"]())
        T.evaluate(T.ptx["atom.acq_rel.gpu.global.add.u32"](before[0], counter, T.uint32(1)))
        with T.If(before[0] == last), T.Then():
            T.evaluate(T.ptx["st.relaxed.gpu.global.u32"](counter, T.uint32(0)))
        completes = T.Select(before[0] == last, T.uint32(1), T.uint32(0))
        T.evaluate(T.ptx["st.shared.u32"](self._complete_address(m, block), completes))

    def _add(self, token: Expr, each_column: Callable[[Callable[[Expr], None]], None]) -> None:
        """Emit the sums of a token, of each column that it is called with."""
        top_k, operands = self.config.rows_per_m, self.context.operands
        # Values of this many slots are loaded at a time.
        at_once = next(count for count in (8, 4, 2, 1) if top_k % count == 0)
        values = T.alloc_local((at_once,), "float32")
        total = T.alloc_local((1,), "float32")

        def column_sum(column: Expr) -> None:
            store_local(total, 0, T.float32(0))
            with T.serial(top_k // at_once) as part:
                slots = [token * top_k + part * at_once + i for i in range(at_once)]
                for i, slot in enumerate(slots):
                    T.evaluate(T.ptx["ld.global.cg.f32"](values[i], self._value_address(slot, column)))
                for i, slot in enumerate(slots):
                    expert = load_coherent(operands.ExpertIds, (0, slot)).astype("uint32")
                    # A slot without an expert has no value.
                    with T.If(expert < T.uint32(self.config.num_experts)), T.Then():
                        store_local(total, 0, total[0] + values[i])
            output = rounded_output(self.config, total[0], "float32")
            T.buffer_store(operands.D, output, [token, column])

        each_column(column_sum)


class ClusterSums:
    """Emits the sums over the blocks of a cluster, each of which has a slot of the same token.

    Values of two blocks of n have a place each, in turn: a block stores to one of them again after a barrier that the
    others reach when they have read it.

    Parameters
    ----------
    context
        Geometry, operands and indices of this block and thread.
    unit
        The slot of the block.
    """

    def __init__(self, context: Context, unit: Slots) -> None:
        g: Any = context.g
        self.g: GroupedDecodeGeometry = g
        self.context, self.unit = context, unit
        self.turn = T.alloc_local((1,), "int32")
        zero_local(self.turn)

    def _address(self, column: Expr) -> Expr:
        return self.context.shared(self.g.values_offset + (self.turn[0] * self.g.block_columns + column) * 4)

    def store(self, slot: Expr, column: Expr, value: Expr) -> None:
        """Emit the store of the value of the slot."""
        del slot
        T.evaluate(T.ptx["st.shared.f32"](self._address(column % self.g.block_columns), value))

    def store_zeros(self) -> None:
        """Emit zeros for a block of n."""
        g = self.g
        with T.serial(-(-g.block_columns // g.threads)) as part:
            column = local("int32", part * g.threads + self.context.thread)
            with T.If(column < g.block_columns), T.Then():
                T.evaluate(T.ptx["st.shared.f32"](self._address(column), T.float32(0)))

    def add(self, n0: Expr) -> None:
        """Emit the sums of a block of n, in the order of the slots, and their stores; the blocks share them."""
        g, context = self.g, self.context
        config, slots = g.experts_config, g.hint.cluster_slots
        arrive_at_cluster(aligned=True)
        wait_for_cluster(aligned=True)
        first = context.block_rank * g.threads + context.thread
        values, address = T.alloc_local((slots,), "float32"), T.alloc_local((slots,), "uint32")
        token = T.truncdiv(self.unit.row(0), slots)
        first_column = T.truncdiv(n0, config.rows_per_column)
        with T.serial(-(-g.block_columns // (slots * g.threads))) as part:
            n = local("int32", part * (slots * g.threads) + first)
            with T.If(tirx.all(n < g.block_columns, first_column + n < g.config.columns)), T.Then():
                own = T.cuda.cvta_generic_to_shared(self._address(n))
                for slot in range(slots):
                    T.evaluate(T.ptx["mapa.shared::cluster.u32"](address[slot], own, T.uint32(slot)))
                    T.evaluate(T.ptx["ld.shared::cluster.f32"](values[slot], address[slot]))
                for slot in range(1, slots):
                    store_local(values, 0, values[0] + values[slot])
                output = rounded_output(config, values[0], "float32")
                T.buffer_store(context.operands.D, output, [token, first_column + n])
        store_local(self.turn, 0, 1 - self.turn[0])

    def finish(self) -> None:
        """Emit the last barrier: no block exits before all others have read its shared memory."""
        arrive_at_cluster(aligned=True)
        wait_for_cluster(aligned=True)
