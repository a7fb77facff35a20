# SPDX-License-Identifier: Apache-2.0
"""Sums over the slots of a token, of which different blocks have the values.

`ClusterSums`: the blocks of a cluster have all slots of a token, and read the values in each other's shared memory.

`SlotSums`: in global memory. Every block stores the values of its slots in float32, and counts for each of them that it
has. The one that counts last for a token adds up the values of the token's slots in their order, so that results do not
depend on which that is. No block waits for another (`bitquant.schedule.rules.hopper.emit.partial_sums` says why loads
see the stores).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from tvm import tirx
from tvm.script import tirx as T

from bitquant.arithmetic import ceil_div
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


def request_workspace(geometry: GroupedDecodeGeometry, operands: GroupedOperands) -> None:
    """Emit, in host code, the request for the workspace of sums over slots, where there are any."""
    g, c = geometry, geometry.experts_config
    if g.sums_slots and not g.sums_in_cluster:
        m = T.cast(operands.rows, "int64")
        operands.slot_values = request_memory(SUMS, "slot_values", "float32", m * (c.rows_per_m * c.columns))
        operands.counters = request_memory(COUNTERS, "counters", "uint32", m * g.grid_n)


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
        T.evaluate(T.cuda.cta_sync())
        with T.If(tirx.all(self.unit.expert >= 0, self.context.rank == 0)), T.Then():
            with T.If(self.context.thread < 32), T.Then():
                for first in range(0, self.g.rows_of_a, 32):
                    m = first + self.context.lane
                    with T.If(m < (self.unit.rows_left if self.g.collects else 1)), T.Then():
                        self._count(m)
            T.evaluate(T.cuda.cta_sync())
            with T.serial(self.unit.rows_left if self.g.collects else 1) as m:
                completes = T.alloc_local((1,), "uint32")
                T.evaluate(T.ptx["ld.shared.u32"](completes[0], self._complete_address(m)))
                with T.If(completes[0] != T.uint32(0)), T.Then():
                    self._add(local("int32", self._token(m)))

    def _token(self, m: Expr) -> Expr:
        return T.truncdiv(self.unit.row(m), self.config.rows_per_m)

    def _complete_address(self, m: Expr) -> Expr:
        return self.context.shared(self.g.complete_offset + m * 4)

    def _count(self, m: Expr) -> None:
        """Emit the count of a slot, and the note whether it is the last of its token, whose counter is zero again."""
        token = local("int32", self._token(m))
        at = token * self.g.grid_n + self.context.first_block_n
        counter = self.context.operands.counters.ptr_to([at])
        before = T.alloc_local((1,), "uint32")
        last = T.uint32(self.config.rows_per_m - 1)
        T.evaluate(T.ptx["fence.acq_rel.gpu"]())
        T.evaluate(T.ptx["atom.acq_rel.gpu.global.add.u32"](before[0], counter, T.uint32(1)))
        with T.If(before[0] == last), T.Then():
            T.evaluate(T.ptx["st.relaxed.gpu.global.u32"](counter, T.uint32(0)))
        completes = T.Select(before[0] == last, T.uint32(1), T.uint32(0))
        T.evaluate(T.ptx["st.shared.u32"](self._complete_address(m), completes))

    def _add(self, token: Expr) -> None:
        """Emit the sums of a token, of the columns of this block."""
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

        self.unit.each_column(column_sum)


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
        with T.serial(ceil_div(g.block_columns, g.threads)) as part:
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
        with T.serial(ceil_div(g.block_columns, slots * g.threads)) as part:
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
