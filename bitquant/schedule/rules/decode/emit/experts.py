# SPDX-License-Identifier: Apache-2.0
"""The units of a grouped product: rows of A that meet the same expert, which a block finds on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx
from tvm.script import tirx as T

from bitquant.compute.grouped import of_expert, rounded_output
from bitquant.intrin.mma import load_coherent, local, store_local
from bitquant.schedule.rules.decode.emit.context import Context
from bitquant.schedule.rules.decode.emit.slots import ClusterSums, SlotSums
from bitquant.schedule.rules.decode.grouped.geometry import GroupedDecodeGeometry

__all__ = ["RowsOfExpert"]

Expr = Any

_ALL_LANES = 0xFFFFFFFF


class RowsOfExpert:
    """A row, or rows of the same expert, and its weight (`bitquant.schedule.rules.decode.emit.context.Unit`).

    Rows are those of A that are sorted, or slots of tokens, t * top_k + j. Those without an expert are of expert E,
    which has no weight. Where a unit is the rows of an expert, experts have as many units as their rows take, one after
    the other: a block counts the rows of all experts, and finds by a prefix sum which expert its unit belongs to.
    Blocks behind the last unit have none.

    Attributes
    ----------
    expert
        The unit's expert, E for none; -1 where there is no such unit.
    rows
        Rows of the unit.
    """

    def __init__(self, context: Context, index: Expr) -> None:
        g: Any = context.g
        self.g: GroupedDecodeGeometry = g
        self.context, self.operands, self.index = context, context.operands, index
        self.config = self.g.experts_config
        self._expert, self._rows, self._first = (T.alloc_local((1,), "int32") for _ in range(3))
        operands = self.operands
        self.B, self.Scale, self.Zeros = (
            of_expert(operand, self._expert[0]) for operand in (operands.B, operands.Scale, operands.Zeros)
        )
        self.sums: SlotSums | ClusterSums | None = None
        if self.g.sums_slots:
            self.sums = (ClusterSums if self.g.sums_in_cluster else SlotSums)(context, self)

    @staticmethod
    def count(geometry: GroupedDecodeGeometry, m: Expr) -> Expr:
        """Return the most units that m rows of A, or tokens, may make: each expert has one that is not full.

        The blocks of a cluster that add up the slots of a token count as one.
        """
        c = geometry.experts_config
        if geometry.sums_in_cluster:
            return m
        rows = m * c.rows_per_m
        if not geometry.collects:
            return rows
        kinds = c.num_experts + c.is_indexed
        not_full = min(rows, kinds) if isinstance(rows, int) else T.min(rows, kinds)
        return not_full + T.truncdiv(rows - not_full, geometry.rows_of_a)

    # How the unit is found.

    @property
    def _all_rows(self) -> Expr:
        return self.context.m * self.config.rows_per_m

    @property
    def is_listed(self) -> bool:
        """Whether the unit's rows stand in shared memory: a barrier must lie between `find` and their use."""
        return bool(self.g.collects and self.config.is_indexed)

    def prepare(self) -> None:
        """Emit what comes before the wait for the kernel before this one; a barrier must follow."""
        if not self.is_listed:
            return
        counts = self.config.num_experts + 1
        for part in range(-(-counts // self.g.threads)):
            at = part * self.g.threads + self.context.thread
            with T.If(at < counts), T.Then():
                T.evaluate(T.ptx["st.shared.u32"](self._count_address(at), T.uint32(0)))

    def find(self) -> None:
        """Emit the search for the unit: all threads know its expert and number of rows afterwards."""
        if not self.g.collects:
            row = self.index
            if self.g.sums_in_cluster:
                row = row * self.config.rows_per_m + self.context.block_rank
            store_local(self._expert, 0, self._expert_of(row))
            store_local(self._rows, 0, T.int32(1))
            store_local(self._first, 0, row)
            return
        if self.config.is_indexed:
            self._count_rows()
        before = self._find_expert()
        rows = self._rows_of(self._expert[0]) if self.config.is_sorted else self._rows[0]
        store_local(self._rows, 0, T.min(rows - before, self.g.rows_of_a))
        if self.config.is_sorted:
            store_local(self._first, 0, self._begin_of(self._expert[0]) + before)
        else:
            with T.If(self.context.thread < 32), T.Then():
                self._list_rows(before)

    def _expert_of(self, row: Expr) -> Expr:
        """Emit the load of the expert of a slot; E for none, since without a sign what is negative is large."""
        expert = load_coherent(self.operands.ExpertIds, (0, row)).astype("uint32")
        return T.min(expert, T.uint32(self.config.num_experts)).astype("int32")

    def _count_rows(self) -> None:
        """Emit the count of the slots of each expert in shared memory."""
        context, threads = self.context, self.g.threads
        with T.serial(T.truncdiv(self._all_rows + (threads - 1), threads)) as step:
            row = local("int32", step * threads + context.thread)
            with T.If(row < self._all_rows), T.Then():
                before = T.alloc_local((1,), "uint32")
                address = self._count_address(self._expert_of(row))
                T.evaluate(T.ptx["atom.shared.add.u32"](before[0], address, T.uint32(1)))
        T.evaluate(T.cuda.cta_sync())

    def _find_expert(self) -> Expr:
        """Emit the search for the expert of this unit; return how many rows of the expert come before the unit.

        Each warp does it by itself: a lane adds up the units of consecutive experts, and all lanes' are scanned.
        """
        lane, kinds = self.context.lane, self.config.num_experts + self.config.is_indexed
        # Odd, so that lanes meet different banks.
        experts = -(-kinds // 32) | 1
        units, other = T.alloc_local((1,), "int32"), T.alloc_local((1,), "int32")

        def of_lane(each: Callable[[Expr, Expr], None]) -> None:
            with T.serial(experts) as i:
                expert = local("int32", lane * experts + i)
                with T.If(expert < kinds), T.Then():
                    rows = local("int32", self._rows_of(expert))
                    each(expert, rows)

        def units_of(rows: Expr) -> Expr:
            return T.truncdiv(rows + (self.g.rows_of_a - 1), self.g.rows_of_a)

        store_local(units, 0, T.int32(0))
        of_lane(lambda _, rows: store_local(units, 0, units[0] + units_of(rows)))
        own = local("int32", units[0])
        for step in range(5):
            store_local(other, 0, T.tvm_warp_shuffle_up(T.uint32(_ALL_LANES), units[0], 1 << step, 32, 32))
            with T.If(lane >= 1 << step), T.Then():
                store_local(units, 0, units[0] + other[0])
        found = T.alloc_local((3,), "int32")  # Expert, rows, and rows before the unit.
        for i, none in enumerate((-1, 0, 0)):
            store_local(found, i, T.int32(none))
        # The units before those of an expert.
        store_local(units, 0, units[0] - own)

        def note(expert: Expr, rows: Expr) -> None:
            inside = local("int32", self.index - units[0])
            with T.If(tirx.all(inside >= 0, inside < units_of(rows))), T.Then():
                for i, value in enumerate((expert, rows, inside * self.g.rows_of_a)):
                    store_local(found, i, value)
            store_local(units, 0, units[0] + units_of(rows))

        is_here = tirx.all(self.index >= units[0], self.index < units[0] + own)
        with T.If(is_here), T.Then():
            of_lane(note)
        for i in range(3):
            T.evaluate(T.ptx["redux_sync.max.s32"](found[i], found[i], T.uint32(_ALL_LANES)))
        store_local(self._expert, 0, found[0])
        store_local(self._rows, 0, found[1])
        return found[2]

    def _rows_of(self, expert: Expr) -> Expr:
        """Return the rows of an expert."""
        if self.config.is_sorted:
            return self._end_of(expert) - self._begin_of(expert)
        count = T.alloc_local((1,), "int32")
        T.evaluate(T.ptx["ld.shared.s32"](count[0], self._count_address(expert)))
        return count[0]

    def _end_of(self, expert: Expr) -> Expr:
        """Emit the load of the end of an expert's rows; offsets beyond the rows count as their number."""
        offset = load_coherent(self.operands.Offsets, T.max(expert, 0))
        return T.max(T.min(offset, self._all_rows), 0)

    def _begin_of(self, expert: Expr) -> Expr:
        begin = T.alloc_local((1,), "int32")
        store_local(begin, 0, T.int32(0))
        with T.If(expert > 0), T.Then():
            store_local(begin, 0, self._end_of(expert - 1))
        return begin[0]

    def _list_rows(self, before: Expr) -> None:
        """Emit, by one warp, the list of the unit's slots: those of the expert in their order, from `before` on."""
        lane, context = self.context.lane, self.context
        seen, mine = T.alloc_local((1,), "int32"), T.alloc_local((1,), "int32")
        store_local(seen, 0, -before)
        lower = local("uint32", (T.uint32(1) << lane.astype("uint32")) - T.uint32(1))
        with T.serial(T.truncdiv(self._all_rows + 31, 32)) as step:
            row = local("int32", step * 32 + lane)
            store_local(mine, 0, T.int32(-1))
            with T.If(row < self._all_rows), T.Then():
                store_local(mine, 0, self._expert_of(row))
            mask = T.alloc_local((1,), "uint32")
            is_mine = T.ptx.pred(T.Select(mine[0] == self._expert[0], T.uint32(1), T.uint32(0)))
            T.evaluate(T.ptx["vote_sync.ballot.b32"](mask[0], is_mine, T.uint32(_ALL_LANES)))
            place = local("int32", seen[0] + T.popcount(mask[0] & lower).astype("int32"))
            is_listed = tirx.all(mine[0] == self._expert[0], place >= 0, place < self.g.rows_of_a)
            with T.If(is_listed), T.Then():
                target = context.shared(self.g.rows_offset + place * 4)
                T.evaluate(T.ptx["st.shared.u32"](target, row.astype("uint32")))
            store_local(seen, 0, seen[0] + T.popcount(mask[0]).astype("int32"))

    def _count_address(self, expert: Expr) -> Expr:
        return self.context.shared(self.g.counts_offset + expert * 4)

    # What a block asks of its unit.

    @property
    def expert(self) -> Expr:
        """The unit's expert; E for none."""
        return self._expert[0]

    @property
    def has_weight(self) -> Expr:
        """Whether there is such a unit, and it has an expert."""
        return tirx.all(self.expert >= 0, self.expert < self.config.num_experts)

    def row(self, m: Expr) -> Expr:
        """Return the row, or slot, that the m-th of the unit is."""
        if not self.is_listed:
            return self._first[0] + m if self.g.collects else self._first[0]
        found = T.alloc_local((1,), "int32")
        T.evaluate(T.ptx["ld.shared.s32"](found[0], self.context.shared(self.g.rows_offset + m * 4)))
        return found[0]

    def _place(self, row: Expr, by_slots: bool) -> tuple[Expr, ...]:
        """Return the leading indices, of a row or a slot, in an operand that goes by rows, slots or tokens."""
        if self.config.is_sorted:
            return (row,)
        top_k = self.config.rows_per_m
        token = T.truncdiv(row, top_k)
        return (token, T.truncmod(row, top_k)) if by_slots else (token,)

    @property
    def rows_left(self) -> Expr | None:
        """The rows of the unit, where they may be fewer than `DecodeGeometry.rows_of_a`."""
        return self._rows[0] if self.g.collects else None

    def has_row(self, m: Expr) -> list[Expr]:
        """Return the conditions, none or one, on which there is an m-th row."""
        return [m < self._rows[0]] if self.g.collects else []

    def pointer_to_A(self, m: Expr, k: Expr) -> Expr:
        """Return the pointer to element k of the m-th row of A."""
        return self.operands.A.ptr_to([*self._place(self.row(m), self.config.A_rows == "slots"), k])

    def store(self, m: Expr, n: Expr, sums: Sequence[Expr]) -> None:
        """Emit the store of the value of a slot, to D or to where those of its token are added up."""
        row = self.row(m)
        weight = None
        if self.config.with_routing_weights:
            weight = load_coherent(self.operands.RoutingWeights, self._place(row, True))
        place = self._place(row, self.config.A_rows == "slots")
        value, dtype = self.operands.slot_value(place, self.expert.astype("int64"), n, sums, weight, load_coherent)
        column = T.truncdiv(n, self.config.rows_per_column)
        if self.sums is not None:
            self.sums.store(row, column, value)
        else:
            self._store_to_D(row, column, rounded_output(self.config, value, dtype))

    def _store_to_D(self, row: Expr, column: Expr, value: Expr) -> None:
        place = self._place(row, self.config.D_rows == "slots")
        T.buffer_store(self.operands.D, value, [*place, column])

    def end_block(self, n0: Expr) -> None:
        """Emit what comes after the last `store` to the block of n from `n0` on."""
        if isinstance(self.sums, ClusterSums):
            self.sums.add(n0)

    def store_zeros(self) -> None:
        """Emit zeros to D where the unit's rows have no expert, or to what is summed."""
        if isinstance(self.sums, ClusterSums):
            with T.If(self.expert == self.config.num_experts), T.Then(), T.serial(self._blocks_n) as block:
                self.sums.store_zeros()
                self.sums.add(self._n0(block))
        if self.config.is_sorted or self.sums is not None:
            return
        zero = tirx.const(0, self.config.out_format.tvm_dtype)
        is_without = tirx.all(self.expert == self.config.num_experts, self.context.rank == 0)
        if self.is_listed:  # The barrier of `find` has all threads.
            T.evaluate(T.cuda.cta_sync())
        with T.If(is_without), T.Then(), T.serial(self._rows[0]) as m:
            row = local("int32", self.row(m))
            self.each_column(lambda column: self._store_to_D(row, column, zero))

    @property
    def _blocks_n(self) -> Expr:
        """Blocks of n that this block has: iterations are that, or phases of K."""
        return self.context.iterations if self.g.a_stays else 1

    def _n0(self, block: Expr) -> Expr:
        return self.context.at(block if self.g.a_stays else 0).n0

    def each_column(self, emit: Callable[[Expr], None]) -> None:
        """Emit statements for each column of D of this block, by its threads."""
        g, context = self.g, self.context
        with T.serial(self._blocks_n) as block:
            first = T.truncdiv(self._n0(block), g.config.rows_per_column)
            with T.serial(-(-g.block_columns // g.threads)) as part:
                column = local("int32", part * g.threads + context.thread)
                with T.If(tirx.all(column < g.block_columns, first + column < g.config.columns)), T.Then():
                    emit(first + column)

    def finish(self) -> None:
        """Emit what comes after the last store."""
        if self.sums is not None:
            self.sums.finish()
